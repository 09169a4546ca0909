// Package sequences runs the same random programs of pmem2 operations on two machines, a
// real kernel and the emulated one, and compares what came of each operation.
//
// A program is made from its seed alone, and its log tells outcomes only: error codes,
// granularities, sizes, checksums, where in a map a fault was. Nothing in it depends on
// addresses, timing, or what programs before have left, so the logs of two machines with
// the same places are equal line by line.
package sequences

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

// header is the first line of a log: what another machine needs to run the same. It isn't
// compared.
type header struct {
	From   uint64       `json:"from"`
	Count  uint64       `json:"count"`
	Places []plan.Place `json:"places"`
	Domain string       `json:"domain"` // persistence_domain of the regions
}

// sweepEvery is after how many sequences the devices are looked over for stray bytes.
const sweepEvery = 200

// Run runs the sequences of count seeds from the first on, on the places of the machine
// that are device DAX or have something mounted, and writes the log to w. The first 8 MiB
// of each device are cleared; files are made and removed. The error is one of the set-up
// or of w: what operations come to is in the log.
func Run(machine platform.Platform, places []plan.Place, from, count uint64, w io.Writer) (err error) {
	var used []plan.Place
	for _, p := range places {
		if usable(p) {
			used = append(used, p)
		}
	}
	if len(used) == 0 {
		return fmt.Errorf("none of %d places is device DAX or has something mounted", len(places))
	}
	windows := map[string][]byte{}
	for _, p := range used {
		if p.Kind != plan.DevDax {
			continue
		}
		b, unmap, err2 := mapWindow(machine, p.Device, p.Bytes, p.Alignment())
		if err2 != nil {
			return fmt.Errorf("place %s: %w", p.Name, err2)
		}
		defer func() { err = errors.Join(err, unmap()) }()
		windows[p.Name] = b
	}
	out := bufio.NewWriterSize(w, 64<<10)
	text, err := json.Marshal(header{from, count, used, domain(machine)})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s%s\n", headerMark, text); err != nil {
		return err
	}
	// Faults become panics of the goroutine, which stays on its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for seed := from; seed-from < count; seed++ {
		objects, steps := program(seed, used)
		if _, err := fmt.Fprintf(out, "%s%d %s\n", sequenceMark, seed, placeList(objects)); err != nil {
			return err
		}
		e := &execution{machine: machine, windows: windows, fds: map[*object]int{}}
		if err := e.run(objects, steps, out); err != nil {
			return err
		}
		if (seed+1)%sweepEvery != 0 {
			continue
		}
		for _, p := range used {
			if b := windows[p.Name]; b != nil {
				if _, err := fmt.Fprintf(out, "  sweep %s%s%s\n", p.Name, arrow, zero(b)); err != nil {
					return err
				}
			}
		}
	}
	return out.Flush()
}

// Marks at the start of a line.
const (
	headerMark   = "! "
	sequenceMark = "# "
)

func placeList(objects []*object) string {
	var names []string
	for _, o := range objects {
		names = append(names, o.name+"="+o.place.Name)
	}
	return strings.Join(names, " ")
}

// domain is the persistence domain of the first region that has one, "" if none does.
func domain(machine platform.Platform) string {
	const devices = "bus/nd/devices"
	names, err := machine.List(devices)
	if err != nil {
		return ""
	}
	for _, name := range names {
		text, err := machine.ReadAttr(devices + "/" + name + "/persistence_domain")
		if err == nil && strings.HasPrefix(name, "region") {
			return strings.TrimSpace(text)
		}
	}
	return ""
}
