// Command broken is a first process, or a program of a step, that doesn't do what it should:
// the file /broken, or its argument, says which of them it is.
package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"pmemlab/ci/vm/plan"
)

func main() {
	if os.Getpid() == 1 {
		text, err := os.ReadFile("/broken")
		if err != nil {
			fmt.Println("broken:", err)
		}
		inits[strings.TrimSpace(string(text))]()
		return
	}
	steps[os.Args[1]]()
}

// inits are first processes: the kernel panics when they return.
var inits = map[string]func(){
	"panics": func() { os.Exit(3) },
	"hangs":  hang,
	"silent": func() {
		if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
			fmt.Println("broken:", err)
		}
	},
	"garbage": func() {
		devices()
		if err := os.WriteFile("/dev/ttyS1", []byte(strings.Repeat("garbage ", 100)), 0); err != nil {
			fmt.Println("broken:", err)
		}
		end(0)
	},
	"nothing": func() {
		devices()
		end(0)
	},
}

// steps are programs of steps.
var steps = map[string]func(){
	"works": func() { fmt.Println("it works:", os.Args[2:]) },
	"fails": func() {
		fmt.Println("something is wrong")
		os.Exit(7)
	},
	"hangs": hang,
}

// hang is found in the goroutines' traces.
func hang() {
	fmt.Println("this hangs")
	for {
		time.Sleep(time.Hour)
	}
}

func devices() {
	if err := syscall.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil && err != syscall.EBUSY {
		fmt.Println("broken:", err)
	}
}

// end ends the machine as the guest does.
func end(status byte) {
	port, err := os.OpenFile("/dev/port", os.O_WRONLY, 0)
	if err == nil {
		_, err = port.WriteAt([]byte{plan.FirstExit + status}, plan.ExitPort)
	}
	fmt.Println("broken:", err)
}
