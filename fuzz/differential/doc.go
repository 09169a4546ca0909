// Command differential runs the same inputs through package pmem2 and through the C library
// libpmem2, both on files of this machine's tmpfs, and holds the two against each other and
// against the models of package model.
//
//	go run -tags libpmem2 ./fuzz/differential -n 200000 -seed 1
//
// It needs the build tag libpmem2, cgo, and what Debian calls libpmem2-dev.
//
// An input is made into a few calls, a program. Go runs it in this process, C in a child
// process, since on some inputs C ends the process or harms it: a child that dies is
// replaced, and what it died of is the outcome of that input. The Go library has to do what
// the model says, always. Where C does otherwise the contract has to say so: known.go has
// the rows, each with the exact condition on which it explains a difference. Every
// difference must be explained by one row. One that isn't is saved, with the input as an
// entry of a corpus, a program in C and one in Go.
//
// What follows a difference in the same input is compared too if both libraries have
// refused the call: else they aren't in the same state any more.
package main
