package sequences

import (
	"errors"
	"fmt"
	"path"

	"pmemlab/ci/vm/plan"
	"pmemlab/emu"
)

// Emulate builds an emulated machine that has what is in places, of the same sizes, and
// returns its places: they differ in their devices and mounts alone. Places without a file
// system that aren't device DAX are left out. domain is the persistence_domain attribute
// of the regions, "" if they have none. The caller shuts the machine down.
func Emulate(places []plan.Place, domain string) (*emu.Machine, []plan.Place, error) {
	m := emu.NewMachine(emu.Config{
		EADR: domain == "cpu_cache", NoPersistenceDomain: domain == "", TraceEvents: -1,
	})
	region := emu.Region{NoFlushHints: true} // as QEMU's own tables have it
	var made []plan.Place
	for _, p := range places {
		if !usable(p) {
			continue
		}
		size := p.Bytes &^ (4<<10 - 1)
		if p.Kind == plan.DevDax {
			p.Device = m.AddDevDax(emu.DevDax{Size: p.Bytes, Align: p.Align, Region: region}).Path()
		} else {
			fs := emu.FS{Size: max(size, 64<<20), Type: emu.Tmpfs}
			if p.Kind != plan.Tmpfs {
				fs.DAX, fs.Region = p.MountsDAX(), region
				switch p.FS {
				case "ext4":
					fs.Type = emu.Ext4
				case "xfs":
					fs.Type = emu.XFS
				default:
					err := fmt.Errorf("place %s has file system %q, allowed are ext4 and xfs", p.Name, p.FS)
					return nil, nil, errors.Join(err, m.Shutdown())
				}
			}
			p.Mount = path.Dir(m.AddFS(fs).Path("file"))
		}
		made = append(made, p)
	}
	if err := m.Err(); err != nil {
		return nil, nil, errors.Join(err, m.Shutdown())
	}
	return m, made, nil
}

// usable says whether sequences can run on a place.
func usable(p plan.Place) bool { return p.Kind == plan.DevDax || p.Mount != "" }
