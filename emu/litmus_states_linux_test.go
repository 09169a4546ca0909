package emu_test

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

// litmusRules are the rules of the machines that random programs run on, by name.
var litmusRules = map[string]model.CrashRules{
	"adr": model.CrashADR, "eadr": model.CrashEADR, "arm64": model.CrashArm64, "page": model.CrashPages,
}

// reference is the enumeration of the rules, beside what a rig does.
type reference struct {
	*model.CrashMemory
	possible bool
	over     bool // there are too many states
}

func newReference(rules string, possible bool) *reference {
	return &reference{CrashMemory: model.NewCrashMemory(model.CrashConfig{
		Rules: litmusRules[rules], Possible: possible, NonTemporal: rules == "adr" || rules == "eadr",
		Lines: litmusLines, Limit: 1 << 12,
	}), possible: possible}
}

func (r *reference) do(o litmusOp) {
	kind := [opKinds]model.CrashKind{
		opStore: model.CrashStore, opCopy: model.CrashCopy, opCopyNT: model.CrashCopyNT, opFlush: model.CrashFlush,
		opCLFlush: model.CrashCLFlush, opFence: model.CrashFence, opPersist: model.CrashPersist, opMsync: model.CrashMsync,
		opLook: model.CrashLook,
	}[o.kind]
	r.over = r.over || !r.Do(model.CrashOp{Kind: kind, By: o.g, Off: o.off, N: o.n, Data: o.data})
}

// text is what n words hold, as bytes.
func text(c model.CrashContent, lines int) string {
	var b []byte
	for _, w := range c[:8*lines] {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return string(b)
}

// durable is the content with what is on the media for certain alone.
func (r *reference) durable() (content string) {
	for i := range r.Units() {
		c, _ := r.Durable(i)
		_, lines := r.LinesOf(i)
		content += text(c, lines)
	}
	return content
}

// images are all contents of the lines that programs use, one after the other.
func (r *reference) images() map[string]bool {
	images := map[string]bool{"": true}
	contents := map[model.CrashContent]int{}
	for i := range r.Units() {
		r.Contents(i, contents)
		_, lines := r.LinesOf(i)
		next := map[string]bool{}
		for a := range images {
			for c := range contents {
				next[a+text(c, lines)] = true
			}
		}
		images = next
	}
	return images
}

// booted is what the used lines hold on a machine that booted, which it ends.
func (r *rig) booted(t *testing.T, m *emu.Machine) string {
	t.Helper()
	defer func() { must(t, m.Shutdown()) }()
	fd, err := m.Open(r.path, platform.ORdwr, 0)
	must(t, err)
	defer m.Close(fd)
	at, err := m.Mmap(0, rigSize, platform.ProtRead|platform.ProtWrite, platform.MapShared, fd, 0)
	must(t, err)
	defer func() { must(t, m.Munmap(at, rigSize)) }()
	return r.content(platform.Bytes(at, rigSize))
}

func (r *rig) count(t *testing.T, possible bool) uint64 {
	s, err := r.m.CrashStates(emu.CrashOptions{Possible: possible})
	must(t, err)
	defer s.Close()
	return s.Count()
}

// inOrder is the contents of all states, in the order of All.
func (r *rig) inOrder(t *testing.T, possible bool) (all []string) {
	r.states(t, possible, func(mem []byte) { all = append(all, r.content(mem)) })
	return all
}

// TestLitmusStates compares the states after random programs with those of the reference, and
// checks what must hold of the states of any program, whatever they are.
func TestLitmusStates(t *testing.T) {
	programs := *litmusPrograms
	if programs == 0 {
		if programs = 150; testing.Short() {
			programs = 30
		}
	}
	for i, kind := range []struct {
		rules string
		cfg   emu.Config
		on    backing
	}{
		{"adr", emu.Config{}, onDevDax},
		{"eadr", emu.Config{EADR: true}, onDaxFile},
		{"arm64", emu.Config{Model: emu.Arm64}, onVirtio},
		{"page", emu.Config{}, onPages},
	} {
		t.Run(kind.rules, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, kind.cfg, kind.on)
			kind.cfg.NoPageScan = true
			slow := newRig(t, kind.cfg, kind.on)
			r.used, slow.used = litmusLines, litmusLines
			seeds, distinct := 0, map[string]bool{}
			for p := range programs {
				rng := rand.New(rand.NewPCG(*litmusSeed, uint64((100+i)<<32+p)))
				program := randomProgram(rng, kind.rules)
				refs := map[bool]*reference{}
				for _, possible := range []bool{false, true} {
					refs[possible] = newReference(kind.rules, possible)
				}
				ref := refs[kind.rules != "eadr"]
				r.reset(t)
				slow.reset(t)
				for k, o := range program {
					// What a CLFLUSH does to non-temporal stores is proven, and not certain; device
					// DAX has no msync.
					if o.kind == opCLFlush && kind.rules == "eadr" || o.kind == opMsync && kind.on == onDevDax {
						o.kind = opFlush
						program[k] = o
					}
					r.do(t, o)
					slow.do(t, o)
					refs[false].do(o)
					refs[true].do(o)
				}
				refs[false].do(litmusOp{kind: opLook})
				refs[true].do(litmusOp{kind: opLook})
				fail := func(format string, args ...any) {
					t.Helper()
					t.Errorf("seed %d, program %d: "+format+", after\n\t%s", append(append([]any{*litmusSeed, p}, args...), programText(program))...)
				}
				for _, possible := range []bool{true, false} { // what is proven ends the last operation
					if r.count(t, possible) > maxRandomImages {
						continue
					}
					once := r.inOrder(t, possible)
					got := map[string]bool{}
					for _, content := range once {
						got[content] = true
					}
					if want := refs[possible].images(); !refs[possible].over && !maps.Equal(got, want) {
						fail("possible %t: %d states, want %d%s", possible, len(got), len(want), difference(got, want))
					}
					if twice := r.inOrder(t, possible); !slices.Equal(once, twice) {
						fail("possible %t: %d states, then %d, or in another order", possible, len(once), len(twice))
					}
					if other := slow.inOrder(t, possible); !slices.Equal(once, other) {
						fail("possible %t: %d states, without PAGEMAP_SCAN %d, or in another order", possible, len(once), len(other))
					}
					if once[0] != r.content(r.mem) {
						fail("possible %t: the first state isn't what is visible", possible)
					}
					for seed := range uint64(4) {
						m, err := r.m.Crash(emu.CrashConfig{Seed: seed + 1, Possible: possible})
						must(t, err)
						got := r.booted(t, m)
						if !slices.Contains(once, got) {
							fail("possible %t: Crash with seed %d leaves what is none of the states", possible, seed+1)
						}
						if seeds++; len(once) > 1 {
							distinct[got] = true
						}
					}
					if possible != ref.possible {
						continue
					}
					m, err := r.m.Crash(emu.CrashConfig{})
					must(t, err)
					switch got := r.booted(t, m); {
					case got != ref.durable():
						fail("Crash leaves what isn't exactly what is durable%s",
							difference(map[string]bool{got: true}, map[string]bool{ref.durable(): true}))
					case !slices.Contains(once, got):
						fail("what is durable for certain is none of the states")
					}
					r.boots(t, possible, fail)
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("seed %d: %d programs, %d seeds left %d states", *litmusSeed, programs, seeds, len(distinct))
			if len(distinct) < programs/4 {
				t.Errorf("%d crashes with a seed left only %d states", seeds, len(distinct))
			}
		})
	}
}

// boots boots the first few states, and compares what is in memory with Image.Bytes.
func (r *rig) boots(t *testing.T, possible bool, fail func(format string, args ...any)) {
	s, err := r.m.CrashStates(emu.CrashOptions{Possible: possible})
	must(t, err)
	n := 0
	for img, err := range s.All() {
		must(t, err)
		mem, err := img.Bytes(r.path)
		must(t, err)
		m, err := img.Machine()
		must(t, err)
		if want, got := r.content(mem), r.booted(t, m); got != want {
			fail("state %d boots with other content%s", n, difference(map[string]bool{got: true}, map[string]bool{want: true}))
		}
		if n++; n == 8 {
			break
		}
	}
	must(t, s.Close())
}
