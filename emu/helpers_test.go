package emu_test

import (
	"testing"

	"pmemlab/emu"
)

// newMachine returns a machine whose clean-up fails the test if something of it was
// left open or mapped.
func newMachine(t *testing.T, cfg emu.Config) *emu.Machine {
	t.Helper()
	m := emu.NewMachine(cfg)
	t.Cleanup(func() {
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return m
}
