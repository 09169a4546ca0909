package conformance

import (
	"runtime"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapProtected maps the source with a protection.
func mapProtected(t *T, src Source, prot pmem2.Prot, name string) Map {
	cfg := t.Config()
	t.Must(cfg.SetProtection(prot), "SetProtection(%s)", name)
	return t.Map(cfg, src)
}

// executableFD is FileFD on storage that code may run from.
func executableFD(t *T, size uint64) int {
	fd := t.FileFD(size)
	addr, err := t.Machine().Mmap(0, size, platform.ProtRead|platform.ProtExec, platform.MapShared, fd, 0)
	if err == syscall.EPERM {
		t.NotSupportedf("executable mappings: the files lie on a file system mounted noexec")
	}
	t.suite(err, "executable mapping of the file")
	t.Munmap(addr, size)
	return fd
}

func configProtectionCases() []Case {
	return []Case{{
		Name: "pmem2_config_set_protection/invalid-flag",
		Rows: []string{"pmem2_config_set_protection/PMEM2_E_INVALID_PROT_FLAG#1", "pmem2_config_set_protection/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			src := t.FileSource(page)
			fresh, changed := t.Config(), t.Config()
			t.Must(changed.SetProtection(pmem2.ProtRead), "SetProtection(READ)")
			const valid = pmem2.ProtRead | pmem2.ProtWrite | pmem2.ProtExec
			refuse := func(p pmem2.Prot) {
				t.Expect("PMEM2_E_INVALID_PROT_FLAG", fresh.SetProtection(p), "SetProtection(%#x)", uint32(p))
				t.Expect("PMEM2_E_INVALID_PROT_FLAG", changed.SetProtection(p), "SetProtection(%#x)", uint32(p))
			}
			for bit := pmem2.Prot(1); bit != 0; bit <<= 1 {
				if bit&valid == 0 {
					refuse(bit)
					refuse(bit | pmem2.ProtRead)
					refuse(bit | valid)
				}
			}
			refuse(^pmem2.Prot(0))
			refuse(^valid)
			// What was set before stays, and so does the default.
			checkMapped(t, t.Map(fresh, src).Address(), page, "rw-s")
			checkMapped(t, t.Map(changed, src).Address(), page, "r--s")
		},
	}, {
		Name: "pmem2_config_set_protection/sets-mapping-protection",
		Rows: []string{"pmem2_config_set_protection/sets-mapping-protection", "pmem2_config_set_protection/any-or-of-flags"},
		Run: func(t *T) {
			page := t.Page()
			src := t.Source(executableFD(t, 2*page))
			cfg := t.Config()
			for _, s := range sharings {
				t.Must(cfg.SetSharing(s.sharing), "SetSharing(%s)", s.name)
				for _, p := range protections {
					t.Must(cfg.SetProtection(p.prot), "SetProtection(%s)", p.name)
					m := t.Map(cfg, src)
					checkMapped(t, m.Address(), 2*page, p.perm+s.letter)
				}
			}
		},
	}, {
		Name: "pmem2_config_set_protection/default-read-write",
		Rows: []string{"pmem2_config_set_protection/default-read-write"},
		Run: func(t *T) {
			page := t.Page()
			fd := t.FileFD(page)
			t.WriteFile(fd, 0, []byte{5})
			m := t.Map(t.Config(), t.Source(fd))
			checkMapped(t, m.Address(), page, "rw-s")
			t.Check(m.Bytes()[0] == 5, "reading gives %d, not 5", m.Bytes()[0])
			m.Bytes()[0] = 6
			checkFile(t, fd, 0, []byte{6}, "the file after a store")
		},
	}, {
		Name: "pmem2_config_set_protection/must-fit-open-mode",
		Rows: []string{"pmem2_config_set_protection/must-fit-open-mode"},
		Run: func(t *T) {
			page := t.Page()
			src := t.Source(t.Open(t.made(t.Env.File(page)), platform.ORdonly))
			cfg := t.Config()
			for _, s := range sharings {
				t.Must(cfg.SetSharing(s.sharing), "SetSharing(%s)", s.name)
				for _, p := range protections {
					if p.prot&pmem2.ProtExec != 0 { // whether code may run there isn't the open mode's matter
						continue
					}
					t.Must(cfg.SetProtection(p.prot), "SetProtection(%s)", p.name)
					if s.sharing == pmem2.Shared && p.prot&pmem2.ProtWrite != 0 {
						t.NoMap("PMEM2_E_NO_ACCESS", cfg, src, "O_RDONLY, %s, %s", s.name, p.name)
						continue
					}
					m := t.Map(cfg, src)
					checkMapped(t, m.Address(), page, p.perm+s.letter)
				}
			}
		},
	}, {
		Name: "pmem2_config_set_protection/exec",
		Rows: []string{"pmem2_config_set_protection/exec"},
		Run: func(t *T) {
			page := t.Page()
			code := returnInstruction()
			if code == nil {
				t.NotSupportedf("no return instruction is known for %s", runtime.GOARCH)
			}
			fd := executableFD(t, 2*page)
			t.WriteFile(fd, 0, code)
			last := 2*page - uint64(len(code))
			t.WriteFile(fd, last, code)
			m := mapProtected(t, t.Source(fd), pmem2.ProtRead|pmem2.ProtExec, "READ|EXEC")
			checkMapped(t, m.Address(), 2*page, "r-xs")
			callReturn(m.Address())
			callReturn(m.Address() + uintptr(last))
			t.Note("calls of the first and the last instruction of the mapping", "both came back")
			t.Check(t.Faults(m.Address(), true), "EXEC without WRITE: a store doesn't fault")
		},
	}, {
		Name: "pmem2_config_set_protection/read",
		Rows: []string{"pmem2_config_set_protection/read"},
		Run: func(t *T) {
			page := t.Page()
			fd, content := t.PatternFile(2*page, 9)
			m := mapProtected(t, t.Source(fd), pmem2.ProtRead, "READ")
			for _, at := range []uint64{0, page, 2*page - 1} {
				addr := m.Address() + uintptr(at)
				t.Check(!t.Faults(addr, false), "READ: a load of byte %d faults", at)
				t.Check(t.Faults(addr, true), "READ: a store to byte %d doesn't fault", at)
			}
			checkBytes(t, m.Bytes(), content, "the map")
			checkFile(t, fd, 0, content, "the file after stores that fault")
		},
	}, {
		Name: "pmem2_config_set_protection/write",
		Rows: []string{"pmem2_config_set_protection/write"},
		Run: func(t *T) {
			page := t.Page()
			for _, p := range protections {
				if p.prot&pmem2.ProtWrite == 0 || p.prot&pmem2.ProtExec != 0 {
					continue
				}
				fd := t.FileFD(2 * page)
				m := mapProtected(t, t.Source(fd), p.prot, p.name)
				for _, at := range []uint64{0, page, 2*page - 1} {
					t.Check(!t.Faults(m.Address()+uintptr(at), true), "%s: a store to byte %d faults", p.name, at)
					m.Bytes()[at] = 77
					checkFile(t, fd, at, []byte{77}, "%s: the file after a store to byte %d", p.name, at)
				}
			}
		},
	}, {
		Name: "pmem2_config_set_protection/none",
		Rows: []string{"pmem2_config_set_protection/none"},
		Run: func(t *T) {
			page := t.Page()
			m := mapProtected(t, t.FileSource(2*page), pmem2.ProtNone, "NONE")
			checkMapped(t, m.Address(), 2*page, "---s")
			for _, at := range []uint64{0, page, 2*page - 1} {
				addr := m.Address() + uintptr(at)
				t.Check(t.Faults(addr, false), "NONE: a load of byte %d doesn't fault", at)
				t.Check(t.Faults(addr, true), "NONE: a store to byte %d doesn't fault", at)
			}
		},
	}}
}
