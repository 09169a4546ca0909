// Package seeds makes the corpora of the targets from the contract. The conformance suite has,
// for each row of the contract, cases that make the calls that show it: they are run on the
// emulated machine with a library that notes what it is asked for, and what was noted becomes
// inputs of the targets.
//
// A row whose cases call nothing that is fuzzed has a reason in place of inputs.
package seeds
