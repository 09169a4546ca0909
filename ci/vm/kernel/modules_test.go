package kernel

import (
	"path/filepath"
	"strings"
	"testing"

	"pmemlab/ci/vm/kernel/kerneltest"
)

func TestModulesInTheirOrder(t *testing.T) {
	all := map[string][]byte{
		"leaf.ko":                     kerneltest.Module("license=GPL", "depends="),
		"drivers/dash-ed.ko":          kerneltest.Module("depends=leaf", "name=dash_ed"),
		"two.ko":                      kerneltest.Module("depends=dash-ed,leaf"),
		"diamond.ko":                  kerneltest.Module("depends=two,dash_ed"),
		"wishes.ko":                   kerneltest.Module("softdep=pre: dash-ed built_in", "depends="),
		"wishes-after.ko":             kerneltest.Module("softdep=pre: leaf post: two", "depends="),
		"only-after.ko":               kerneltest.Module("softdep=post: two"),
		"two-wishes.ko":               kerneltest.Module("softdep=pre: leaf", "softdep=pre: dash_ed"),
		"needs-none-there.ko":         kerneltest.Module("depends=leaf,gone"),
		"above.ko":                    kerneltest.Module("depends=needs-none-there"),
		"cycle-a.ko":                  kerneltest.Module("depends=cycle-b"),
		"cycle-b.ko":                  kerneltest.Module("depends=cycle-c"),
		"cycle-c.ko":                  kerneltest.Module("depends=cycle-a"),
		"itself.ko":                   kerneltest.Module("depends=itself"),
		"no-elf.ko":                   []byte(strings.Repeat("#!/bin/sh\n", 10)),
		"no-modinfo.ko":               kerneltest.ELF(".text", "depends=leaf"),
		"almost.ko":                   kerneltest.Module("alias=depends=two", "dependsnot=two", "parm=depends:leaf"),
		"drivers/nvdimm/equals-in.ko": kerneltest.Module("description=a=b", "depends=leaf"),
	}
	files, cache := made(t, kerneltest.Image(kerneltest.Gzip(kerneltest.Vmlinux())), all)
	k, err := Open(files, cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ names, want, fails string }{
		{"", "", ""},
		{"leaf", "leaf", ""},
		{"leaf leaf", "leaf", ""},
		{"dash-ed", "leaf dash_ed", ""},
		{"dash_ed dash-ed", "leaf dash_ed", ""},
		{"diamond", "leaf dash_ed two diamond", ""},
		{"leaf diamond", "leaf dash_ed two diamond", ""},
		{"diamond leaf", "leaf dash_ed two diamond", ""},
		{"wishes", "leaf dash_ed wishes", ""},
		{"wishes-after", "leaf wishes_after", ""},
		{"only-after", "only_after", ""},
		{"two-wishes", "leaf dash_ed two_wishes", ""},
		{"almost", "almost", ""},
		{"equals-in", "leaf equals_in", ""},
		{"gone", "", "has no module gone"},
		{"leaf above", "", "has no module above -> needs_none_there -> gone"},
		{"cycle-a", "", "cycle_a -> cycle_b -> cycle_c -> cycle_a"},
		{"itself", "", "itself -> itself"},
		{"no-elf", "", "no-elf.ko: bad magic"},
		{"no-modinfo", "", "no-modinfo.ko: no section .modinfo"},
	} {
		t.Run(c.names, func(t *testing.T) {
			modules, err := k.Modules(strings.Fields(c.names)...)
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Fatalf("%v, %v: want an error with %q", modules, err, c.fails)
			}
			var names []string
			for _, m := range modules {
				names = append(names, m.Name)
				if moduleName(m.File) != m.Name || !filepath.IsAbs(m.File) {
					t.Errorf("module %s is in %s", m.Name, m.File)
				}
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("%s: %s; want %s", c.names, got, c.want)
			}
		})
	}
}
