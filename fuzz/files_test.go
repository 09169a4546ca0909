package fuzz

import "testing"

func FuzzFiles(f *testing.F) { native(f, Files) }
