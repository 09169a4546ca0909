package pmemset_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// sweepFunctions are the operations of each exported function; "" asks nothing.
var sweepFunctions = map[string]string{
	"SourceFromFile": "SourceFromFile", "XSourceFromFile": "XSourceFromFile", "SourceFromTemporary": "SourceFromTemporary",
	"SourceFromPMem2": "SourceFromPMem2", "Source.Delete": "Source.Delete", "Source.Alignment": "Alignment",
	"Source.PreadMCSafe": "PreadMCSafe", "Source.PwriteMCSafe": "PwriteMCSafe", "Source.ClearBadBlock": "ClearBadBlock",
	"Source.SetBadBlockDetection": "SetBadBlockDetection", "Source.SetSDS": "SetSDS",
	"NewPart": "NewPart", "Part.Map": "Part.Map", "Part.Delete": "", "Map": "Map", "Set.Map": "Set.Map",
	"Set.RemovePartMap": "RemovePartMap", "Set.RemoveRange": "RemoveRange", "Set.Delete": "Set.Delete",
	"Set.Persist": "Persist", "Set.Flush": "Flush", "Set.Drain": "Drain", "Set.DeepFlush": "DeepFlush", "Set.DeepFlushRange": "DeepFlush",
	"Set.Memmove": "Memmove", "Set.Memcpy": "Memcpy", "Set.Memset": "Memset",
	"New": "", "Set.StoreGranularity": "", "Set.SetContiguousPartCoalescing": "",
	"Set.FirstPartMap": "", "Set.NextPartMap": "", "Set.PartMapByAddress": "",
	"PartMap.Drop": "", "PartMap.Same": "", "PartMap.Descriptor": "", "PartDescriptor.Bytes": "",
	"NewConfig": "", "Config.Delete": "", "Config.SetRequiredStoreGranularity": "", "Config.SetReservation": "",
	"Config.SetEventCallback": "", "Config.SetAcceptableStates": "",
	"NewMapConfig": "", "MapConfig.SetOffset": "", "MapConfig.SetLength": "", "MapConfig.Delete": "",
	"On": "", "CreateMode": "", "CreateAlwaysMode": "", "Errno": "", "Perror": "", "SetLogger": "",
	"Code.Error": "", "Code.Symbol": "", "Error.Error": "", "Error.Detail": "", "Error.Unwrap": "",
	"EventType.String": "", "PartState.String": "",
}

// TestSweepIsComplete: every exported function is swept, or known to ask the platform
// nothing.
func TestSweepIsComplete(t *testing.T) {
	exported := sweepExported(t)
	for _, name := range exported {
		prefix, known := sweepFunctions[name]
		if !known {
			t.Errorf("%s is exported and not in sweepFunctions", name)
		}
		swept := slices.ContainsFunc(sweepOperations(), func(op sweepOperation) bool {
			return op.name == prefix || strings.HasPrefix(op.name, prefix+", ")
		})
		if prefix != "" && !swept {
			t.Errorf("%s: no operation is called %q", name, prefix)
		}
	}
	for name := range sweepFunctions {
		if !slices.Contains(exported, name) {
			t.Errorf("%s is in sweepFunctions and not exported", name)
		}
	}
	seen := map[string]bool{}
	for _, op := range sweepOperations() {
		if seen[op.name] {
			t.Errorf("two operations are called %q", op.name)
		}
		seen[op.name] = true
		function, _, _ := strings.Cut(op.name, ",")
		if !slices.ContainsFunc(exported, func(name string) bool { return sweepFunctions[name] == function }) {
			t.Errorf("the operation %q is of no exported function", op.name)
		}
	}
	for _, name := range sweepAsksNothing {
		if !seen[name] {
			t.Errorf("sweepAsksNothing has %q, which is no operation", name)
		}
	}
}

// TestSweepAsksNothing calls what isn't swept, and what must make no platform call.
func TestSweepAsksNothing(t *testing.T) {
	s := newSweepStage(t)
	src := s.pageSource()
	old, err := pmemset.NewPart(s.set(nil, pmemset.CoalescingFull).Set, src, 0, sweepPage)
	s.must(err)
	d := s.mapPage(s.sets[0], src)
	s.faults.Reset()
	s.must(old.Delete())
	for _, row := range []struct {
		set   *sweepSet
		parts []pmemset.PartDescriptor
		want  error // of what needs a part
	}{
		{s.sets[0], []pmemset.PartDescriptor{d}, nil},
		{s.set(nil, pmemset.CoalescingNone), nil, pmemset.ErrNoPartMapped},
	} {
		s.must(row.set.SetContiguousPartCoalescing(pmemset.CoalescingOpportunistic))
		if g, err := row.set.StoreGranularity(); !errors.Is(err, row.want) || err == nil && g != pmem2.GranularityPage {
			t.Errorf("granularity %v, %v; want %v", g, err, row.want)
		}
		if list := row.set.list(); !slices.Equal(list, row.parts) {
			t.Errorf("the part maps are %v, want %v", list, row.parts)
		}
		p, err := row.set.PartMapByAddress(d.Addr)
		if (err == nil) != (row.want == nil) || err == nil && (p.Descriptor() != d || !p.Same(p)) {
			t.Errorf("by address: %v, %v", p, err)
		}
		p.Drop()
	}
	cfg := pmemset.NewMapConfig(s.sets[0].Set)
	s.must(errors.Join(cfg.SetOffset(sweepPage), cfg.SetLength(sweepPage), cfg.Delete()))
	if n := s.faults.Count(fault.All); n != 0 {
		t.Errorf("%d platform calls were made", n)
	}
	for _, text := range s.finish(false) {
		t.Error(text)
	}
}

// sweepExported are the exported functions of the package's source, methods as
// "Type.Method".
func sweepExported(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				receiver := f.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				typeName := receiver.(*ast.Ident).Name
				if !ast.IsExported(typeName) {
					continue
				}
				name = typeName + "." + name
			}
			names = append(names, name)
		}
	}
	return names
}
