package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Module is a module and where it is.
type Module struct{ Name, File string }

// moduleName is that of a file: dashes and underscores are one to the kernel.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}

// Modules are those of the names, and what they depend on, each after what it needs. One
// that isn't there isn't a module of this kernel but built in, or unknown: the error says so.
func (k *Kernel) Modules(names ...string) ([]Module, error) {
	var order []Module
	done := map[string]bool{}
	var load func(name string, above []string) error
	load = func(name string, above []string) error {
		name = strings.ReplaceAll(name, "-", "_")
		if done[name] {
			return nil
		}
		file, ok := k.modules[name]
		if !ok {
			return fmt.Errorf("kernel %s has no module %s", k.Version, strings.Join(append(above, name), " -> "))
		}
		if slices.Contains(above, name) {
			return fmt.Errorf("modules that need each other: %s", strings.Join(append(above, name), " -> "))
		}
		if err := k.verify(file); err != nil {
			return err
		}
		needs, wishes, err := dependencies(file)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := load(n, append(above, name)); err != nil {
				return err
			}
		}
		for _, n := range wishes {
			// A soft dependency may be built in.
			if _, ok := k.modules[strings.ReplaceAll(n, "-", "_")]; ok {
				if err := load(n, append(above, name)); err != nil {
					return err
				}
			}
		}
		done[name] = true
		order = append(order, Module{Name: name, File: file})
		return nil
	}
	for _, name := range names {
		if err := load(name, nil); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// dependencies are the modules that one names in its section .modinfo: those that it needs
// and those that it would like to be loaded before it.
func dependencies(file string) (needs, wishes []string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	defer func() { _ = f.Close() }()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil, fmt.Errorf("%s: no section .modinfo", file)
	}
	info, err := section.Data()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	for line := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(line), "=")
		switch key {
		case "depends":
			needs = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		case "softdep":
			if before, ok := strings.CutPrefix(value, "pre:"); ok {
				before, _, _ = strings.Cut(before, "post:")
				wishes = append(wishes, strings.Fields(before)...)
			}
		}
	}
	return needs, wishes, nil
}
