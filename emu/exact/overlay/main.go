// Command overlay makes the build overlay of exact mode from the installed Go, and prints
// the settings to build with:
//
//	go run ./emu/exact/overlay -o /tmp/exact
//
// It changes nothing but the folder that it's told: the overlay is patched copies of a few
// files of the runtime. It has to be made again for another Go installation.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	dir := flag.String("o", "", "write the overlay to this `folder`")
	flag.Parse()
	if *dir == "" || flag.NArg() != 0 {
		fmt.Fprintln(os.Stderr, "usage: overlay -o folder")
		os.Exit(2)
	}
	if err := run(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	t, err := installed()
	if err != nil {
		return err
	}
	path, err := generate(t, dir)
	if err != nil {
		return err
	}
	fmt.Println(settings(path), "go test ./...")
	return nil
}

// installed asks the go command which Go it is.
func installed() (toolchain, error) {
	out, err := exec.Command("go", "env", "-json", "GOROOT", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return toolchain{}, fmt.Errorf("go env: %w", err)
	}
	var env map[string]string
	if err := json.Unmarshal(out, &env); err != nil {
		return toolchain{}, fmt.Errorf("go env: %w", err)
	}
	return toolchain{env["GOROOT"], env["GOVERSION"], env["GOOS"], env["GOARCH"]}, nil
}

// settings are the environment variables of a build with the overlay. The go command asks
// for cgo with -race; the tags leave out what would need a C compiler.
func settings(overlay string) string {
	return "CGO_ENABLED=1 GOFLAGS='-race -tags=netgo,osusergo -overlay=" + overlay + "'"
}
