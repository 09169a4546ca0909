package fuzz

import "testing"

func FuzzSysfs(f *testing.F) { native(f, Sysfs) }
