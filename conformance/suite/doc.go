// Package suite is the conformance suite as a program, which is the test binary of this
// package: a tree of Ginkgo's with a spec for each case of package conformance. The flags
// are those of package command.
package suite
