// Package fuzz hunts range and alignment bugs: it makes inputs for the libraries and the
// machines beneath them, and holds what they do against models that are written from the
// manual pages alone, in package model.
//
// A Target is one thing that is fuzzed. Its inputs are bytes of a fixed layout, so that a
// flipped byte is a changed field, and the numbers in them are coded so that the values
// that matter are near each other: see Number. The coverage engine of go test fuzzes
// each target (FuzzMap is target Map), and so does a fast generator without
// instrumentation (package fuzz/fast); what either finds is an entry of the same corpus.
package fuzz
