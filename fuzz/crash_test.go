package fuzz

import "testing"

func FuzzCrash(f *testing.F) { native(f, Crash) }
