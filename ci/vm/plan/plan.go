// Package plan is what the host tells the guest of a virtual machine to do, and what the
// guest tells of what it has made. Both sides are built from it, so they agree.
package plan

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// Where things are in the guest.
const (
	File    = "/plan.json"       // the Plan, in the initramfs
	Places  = "/run/places.json" // []Place, written before the first step
	Out     = "/out"             // what is in it is brought out
	Modules = "/modules"         // kernel modules, each named by what it is
)

// Exit statuses of the runner that are none of a guest's own.
const (
	// Died is a guest that panicked, powered off, or ended without a status.
	Died = 125
	// TimedOut is one that took too long.
	TimedOut = 124
)

// MaxStatus is the largest status that a guest can end with.
const MaxStatus = 100

// Kind is what a namespace is made into.
type Kind string

// The kinds.
const (
	DevDax Kind = "devdax" // /dev/daxN.M
	FSDax  Kind = "fsdax"  // a /dev/pmemN with a memory map, which DAX needs
	Raw    Kind = "raw"    // a /dev/pmemN without
	BTT    Kind = "btt"    // a /dev/pmemNs with atomic sectors
	Tmpfs  Kind = "tmpfs"  // no device
)

// Plan is all that the guest does: load modules, make namespaces and file systems, take
// the steps, end with a status.
type Plan struct {
	Modules    []string    `json:"modules"` // names, in the order in which they are loaded
	Namespaces []Namespace `json:"namespaces"`
	Steps      []Step      `json:"steps"`
	// Keep leaves namespaces and file systems that are there from an earlier boot as they
	// are, instead of making them.
	Keep bool `json:"keep,omitempty"`
}

// Namespace is a namespace, or a tmpfs, to be made.
type Namespace struct {
	// Name is what it's called in Places, and where it is mounted: /mnt/NAME.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Address is the physical address of its region: regions aren't numbered in their order.
	Address uint64 `json:"address,omitempty"`
	// Align is that of DevDax and FSDax in bytes; 0 is 2 MiB.
	Align uint64 `json:"align,omitempty"`
	// Size is that of a namespace on a labelled region, in bytes; 0 takes the region.
	Size uint64 `json:"size,omitempty"`
	// FS is "ext4" or "xfs", to be made and mounted with the options; "" is none.
	FS      string   `json:"fs,omitempty"`
	MakeFS  []string `json:"makefs,omitempty"` // more arguments of mkfs
	Options string   `json:"options,omitempty"`
}

// Alignment is that of DevDax and FSDax in bytes.
func (n Namespace) Alignment() uint64 {
	if n.Align == 0 {
		return 2 << 20
	}
	return n.Align
}

// MountsDAX says whether the options have files mapped past the page cache.
func (n Namespace) MountsDAX() bool {
	for option := range strings.SplitSeq(n.Options, ",") {
		if option = strings.TrimSpace(option); option == "dax" || option == "dax=always" {
			return true
		}
	}
	return false
}

// Place is what there is of a Namespace.
type Place struct {
	Namespace
	Device string `json:"device,omitempty"` // "/dev/dax0.0", "/dev/pmem1"
	Region string `json:"region,omitempty"` // in sysfs: "bus/nd/devices/region0"
	Bytes  uint64 `json:"bytes,omitempty"`  // of the device
	Mount  string `json:"mount,omitempty"`  // "/mnt/NAME"
}

// Step is a program that the guest runs, with the files in Out as what it leaves.
type Step struct {
	Name string   `json:"name"`
	Args []string `json:"args"` // the program and its arguments; {NAME} is a Place's device, {NAME/} its mount
	Env  []string `json:"env,omitempty"`
	// Limit is how long it may take.
	Limit time.Duration `json:"limit"`
}

// StepResult is how a step ended; Out/steps.json has them all.
type StepResult struct {
	Name    string  `json:"name"`
	Status  int     `json:"status"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

// ReadPlaces reads what the guest has made.
func ReadPlaces() ([]Place, error) {
	text, err := os.ReadFile(Places)
	if err != nil {
		return nil, err
	}
	var places []Place
	if err := json.Unmarshal(text, &places); err != nil {
		return nil, fmt.Errorf("%s: %w", Places, err)
	}
	return places, nil
}

// Find is the place of that name.
func Find(places []Place, name string) (Place, error) {
	for _, p := range places {
		if p.Name == name {
			return p, nil
		}
	}
	return Place{}, fmt.Errorf("there is no place %q", name)
}

// EndFile is the file in Out that says how the guest ended.
const EndFile = "end.json"

// End is how a guest ended.
type End struct {
	Status int          `json:"status"`
	Steps  []StepResult `json:"steps"`
	// Error is what kept it from taking any step: a module, a namespace or a file system that
	// can't be.
	Error string `json:"error,omitempty"`
}

// What the guest writes to the I/O port ExitPort ends the machine: FirstExit + its status.
// QEMU then exits with twice that and 1, so that no other end looks like it.
const (
	ExitPort  = 0xf4
	FirstExit = 16
)
