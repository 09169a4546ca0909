package fuzz

import "testing"

func FuzzMemory(f *testing.F) { native(f, Memory) }
