package mutate

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// Site is a call of persistent memory in the source of a program.
type Site struct {
	Place
	Func   string // the function that it's in: Log.Append
	N      int    // it's the N-th call in there, from 1 on
	Method string // what is called
}

func (s Site) String() string { return fmt.Sprintf("%s %d: %s", s.Func, s.N, s.Method) }

// Source lists the calls of methods with the names of pmem.Memory's that change or order
// anything, in the Go files of a directory but for tests. It fails if the source
// can't be parsed, or two such calls are on one line, which would then be one place.
func Source(dir string) ([]Site, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var sites []Site
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			n := 0
			ast.Inspect(fn.Body, func(node ast.Node) bool {
				sel, ok := node.(*ast.SelectorExpr) // a method value, too: it must be called to be seen
				if !ok {
					return true
				}
				switch sel.Sel.Name {
				case "Persist", "Flush", "Drain", "Memcpy", "Memmove", "Memset":
					n++
					at := files.Position(sel.Pos())
					sites = append(sites, Site{Place{at.Filename, at.Line}, name(fn), n, sel.Sel.Name})
				}
				return true
			})
		}
	}
	seen := map[Place]bool{}
	for _, s := range sites {
		if seen[s.Place] {
			return nil, fmt.Errorf("mutate: %s has two calls of persistent memory on one line", s.Place)
		}
		seen[s.Place] = true
	}
	return sites, nil
}

func name(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}
