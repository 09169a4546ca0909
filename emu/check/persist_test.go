package check_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pmemlab/emu/check"
	"pmemlab/emu/persist"
)

// TestAgreesWithPersist compares what is durable with the model of the images.
func TestAgreesWithPersist(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 10_000 {
		cfg, _, events := program(rng)
		model := persist.X86
		if cfg.EADR {
			model = persist.X86EADR
		} else if cfg.Unit == 512 {
			model = persist.PageCache
		}
		c, m := check.New(cfg), persist.New(model, nil)
		for i, e := range events {
			apply(c, e)
			data := slices.Repeat([]byte{byte(i + 1)}, int(e.n))
			g := e.op.G
			switch e.call {
			case "changed":
				if e.how == check.NonTemporal {
					m.StoreNT(g, e.off, data)
				} else {
					m.Store(e.off, data)
				}
			case "flush", "persist":
				switch e.kind {
				case check.Weak:
					m.Flush(g, e.off, e.n)
				case check.Strong:
					m.CLFlush(g, e.off, e.n)
				}
				if e.call == "persist" {
					m.Fence(g)
				}
			case "fence":
				m.Fence(g)
			case "sync":
				m.Sync(g, e.off, e.n)
			case "exit":
				m.Exit(g)
			}
			m.Settle()
			for l := range uint64(3) {
				var durable, visible [64]byte
				m.Durable(l*64, durable[:])
				m.Visible(l*64, visible[:])
				if got, want := c.Line(l*64).State == check.Durable, durable == visible; got != want {
					t.Fatalf("%+v:\n%v\nafter %v: line %d: got durable %v, want %v", cfg, lines(events), e, l, got, want)
				}
			}
		}
	}
}
