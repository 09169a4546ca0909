package mce

import (
	"strings"
	"testing"
)

// TestInjectRefuses: none of these gets as far as the kernel.
func TestInjectRefuses(t *testing.T) {
	for _, c := range []struct {
		address, length uint64
		want            string
	}{
		{1 << 32, 0, "for 0 bytes at 0x100000000: the length is to be a power of two up to 4096"},
		{1 << 32, 768, "for 768 bytes"},
		{1 << 32, 8192, "for 8192 bytes"},
		{1<<32 + 256, 512, "at 0x100000100: the length is to be a power of two up to 4096, and the address a multiple of it"},
		{1 << 62, 512, ""}, // no region has it, or nobody may say where they are
	} {
		if err := Inject(c.address, c.length); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d bytes at %#x: got %v, want %q", c.length, c.address, err, c.want)
		}
	}
}
