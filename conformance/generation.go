package conformance

import (
	"strings"

	"pmemlab/pmemset"
)

// Generation is a way to map that libpmemset once had. The rest of the library is the
// same in all of them, but for what a case knows.
type Generation int

// The generations, from the oldest.
const (
	PartsAPI   Generation = iota // pmemset_part_new(3) and pmemset_part_map(3)
	MapAPI                       // pmemset_map(3) into the set of the map config
	Release112                   // pmemset_map(3) of the release 1.12.1
)

// Generations are all there are.
func Generations() []Generation { return []Generation{PartsAPI, MapAPI, Release112} }

// Name is the edition that rows have: "parts-1.11".
func (g Generation) Name() string {
	switch g {
	case PartsAPI:
		return "parts-1.11"
	case MapAPI:
		return "map-api"
	}
	return "1.12.1"
}

// call is what the generation maps with.
func (g Generation) call() string {
	switch g {
	case PartsAPI:
		return "Part.Map"
	case MapAPI:
		return "Map"
	}
	return "Set.Map"
}

// Growing are the flags of a source whose file grows as mapping needs it.
func (g Generation) Growing() pmemset.SourceFlags {
	if g == Release112 {
		return 0
	}
	return pmemset.SourceFileTruncateIfNeeded
}

// Fixed are the flags of a source whose file doesn't.
func (g Generation) Fixed() pmemset.SourceFlags {
	if g == Release112 {
		return pmemset.SourceFileDoNotGrow
	}
	return 0
}

// Map maps length bytes of the source from offset on, 0 for as much as there is. What
// it returns is the result of the generation's last call, or of the first that fails.
func (g Generation) Map(t *T, set Set, src SetSource, offset, length uint64) (pmemset.PartDescriptor, error) {
	if g == PartsAPI {
		part, err := t.Sets().NewPart(set, src, offset, length)
		if err != nil {
			return pmemset.PartDescriptor{}, err
		}
		t.Check(part != nil, "NewPart succeeds and returns no part")
		d, err := part.Map()
		if err != nil {
			t.mustQuietly(part.Delete(), "Delete() of a part that wasn't mapped")
		}
		return d, err
	}
	cfg, err := t.Sets().NewMapConfig(set)
	t.mustQuietly(err, "NewMapConfig()")
	t.Check(cfg != nil, "NewMapConfig succeeds and returns no config")
	defer func() { _ = cfg.Delete() }()
	if err := cfg.SetOffset(offset); err != nil {
		return pmemset.PartDescriptor{}, err
	}
	t.mustQuietly(cfg.SetLength(length), "SetLength(%#x)", length)
	if g == MapAPI {
		return t.Sets().Map(src, cfg)
	}
	return set.Map(src, cfg)
}

// EachGeneration calls f for all generations, from the oldest.
func (t *T) EachGeneration(f func(g Generation)) { t.InGenerations(f, Generations()...) }

// InGenerations calls f for some generations. What f has made is gone before the next
// one. If f ends the case, the reason names the generation.
func (t *T) InGenerations(f func(g Generation), generations ...Generation) {
	for _, g := range generations {
		t.inTurn("generation", g.Name(), func() { f(g) })
	}
}

// inTurn calls f for one of several things that are alike. What f has made is gone when it
// returns. If f ends the case, the reason has the name.
func (t *T) inTurn(what, name string, f func()) {
	t.Note(what, "%s", name)
	t.mu.Lock()
	outer, outerSets := t.cleanups, t.sets
	t.cleanups, t.sets = nil, nil
	t.mu.Unlock()
	returned := false
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cleanups, t.sets = append(outer, t.cleanups...), append(outerSets, t.sets...)
		if !returned && t.reason != "" && !strings.HasPrefix(t.reason, name+": ") {
			t.reason = name + ": " + t.reason
		}
	}()
	f()
	t.cleanUp()
	returned = true
}

// cleanUp does what is to be done at the end.
func (t *T) cleanUp() {
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		f()
	}
}
