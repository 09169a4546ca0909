package fuzz

import "testing"

func FuzzSet(f *testing.F) { native(f, Set) }
