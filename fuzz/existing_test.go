package fuzz

import "testing"

func FuzzExisting(f *testing.F) { native(f, Existing) }
