package fuzz

import "testing"

func FuzzFlush(f *testing.F) { native(f, Flush) }
