// Package bank has planted bugs: one-line faults of the kind that code for persistent memory
// has had. Fuzzing has to find each of them.
package bank

import "slices"

// Fault is a planted bug: in File the text Old, which is there once, is New.
type Fault struct {
	Name     string // short, of small letters and hyphens
	About    string // what goes wrong, in half a line
	File     string // from the root of the module
	Old, New string
}

// Faults are all of them.
func Faults() []Fault {
	return slices.Concat(mapFaults, crashFaults, reservationFaults, setFaults, storeFaults, textFaults, mediaFaults)
}
