package fuzz

import (
	"cmp"
	"slices"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

// kernelSpace is a machine with an address space of its own, in which nothing is really
// mapped: what a kernel keeps of mappings is all that reservations ask it for. Calls cost
// nothing, the places of mappings are the same each time, and what is mapped can be held
// against what should be after each operation. Files, devices and the CPU are those of the
// machine beneath; what they say of themselves is asked for once.
type kernelSpace struct {
	platform.Platform
	lo, mid, hi uint64       // as in model.Space
	areas       []model.Area // what is mapped, by address
	picked      model.Extent // the last for which the kernel picked the place
	stats       map[int]platform.Stat
	attrs       map[string]string
	links       map[string]string
}

func newKernelSpace(beneath platform.Platform) *kernelSpace {
	return &kernelSpace{
		Platform: beneath, stats: map[int]platform.Stat{}, attrs: map[string]string{}, links: map[string]string{},
	}
}

// Fstat is fstat(2).
func (k *kernelSpace) Fstat(fd int) (platform.Stat, error) {
	return remember(k.stats, fd, k.Platform.Fstat)
}

// ReadAttr is platform.Sysfs.ReadAttr.
func (k *kernelSpace) ReadAttr(path string) (string, error) {
	return remember(k.attrs, path, k.Platform.ReadAttr)
}

// Readlink is platform.Sysfs.Readlink.
func (k *kernelSpace) Readlink(path string) (string, error) {
	return remember(k.links, path, k.Platform.Readlink)
}

func remember[K comparable, V any](known map[K]V, of K, ask func(K) (V, error)) (V, error) {
	if v, ok := known[of]; ok {
		return v, nil
	}
	v, err := ask(of)
	if err == nil {
		known[of] = v
	}
	return v, err
}

func (k *kernelSpace) pages(n uint64) uint64 { return (n + k.PageSize() - 1) &^ (k.PageSize() - 1) }

// Mmap is mmap(2).
func (k *kernelSpace) Mmap(at uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	addr, n, page := uint64(at), k.pages(length), k.PageSize()
	a := model.Area{What: model.AnonymousMap}
	align := page
	switch {
	case fd >= 0:
		a.What, align = model.DeviceMap, deviceAlign
	case prot == platform.ProtNone && flags&platform.MapType == platform.MapPrivate:
		a.What = model.Placeholder
	case prot == platform.ProtRead: // maps are for writing, too
		a.What = model.OtherMap
	}
	fixed := flags&(platform.MapFixed|platform.MapFixedNoreplace) != 0
	switch {
	case length == 0, fd >= 0 && (uint64(off)%align != 0 || n%align != 0):
		return 0, syscall.EINVAL
	case n == 0, n > k.hi:
		return 0, syscall.ENOMEM
	case !fixed:
		var ok bool
		if addr, ok = k.place(n, align); !ok {
			return 0, syscall.ENOMEM
		}
		k.picked = model.Extent{Start: addr, Size: n}
	case addr > k.hi-n:
		return 0, syscall.ENOMEM
	case addr%align != 0:
		return 0, syscall.EINVAL
	case addr < k.lo:
		return 0, syscall.EPERM
	case flags&platform.MapFixedNoreplace != 0 && k.holds(model.Extent{Start: addr, Size: n}):
		return 0, syscall.EEXIST
	}
	a.Extent = model.Extent{Start: addr, Size: n}
	k.put(a)
	return uintptr(addr), nil
}

// Munmap is munmap(2).
func (k *kernelSpace) Munmap(at uintptr, length uint64) error {
	addr, n := uint64(at), k.pages(length)
	if addr%k.PageSize() != 0 || n == 0 || n > k.hi || addr > k.hi-n {
		return syscall.EINVAL
	}
	i, j := k.cut(model.Extent{Start: addr, Size: n})
	k.areas = slices.Delete(k.areas, i, j)
	return nil
}

// Mremap is mremap(2) from one mapping to a fixed address: the only way that it is called.
func (k *kernelSpace) Mremap(at uintptr, length, newLength uint64, flags int, newAt uintptr) (uintptr, error) {
	from, to := model.Extent{Start: uint64(at), Size: k.pages(length)}, model.Extent{Start: uint64(newAt), Size: k.pages(length)}
	switch {
	case flags != platform.MremapMaymove|platform.MremapFixed, length != newLength, length == 0,
		(from.Start|to.Start)%k.PageSize() != 0, to.Size > k.hi, to.Start > k.hi-to.Size, from.Overlaps(to):
		return 0, syscall.EINVAL
	}
	i := k.after(from.Start)
	if i == len(k.areas) || k.areas[i].Start > from.Start || k.areas[i].Start+k.areas[i].Size-from.Start < from.Size {
		return 0, syscall.EFAULT
	}
	moved := model.Area{Extent: to, What: k.areas[i].What}
	if moved.What == model.DeviceMap && to.Start%deviceAlign != 0 {
		return 0, syscall.EINVAL
	}
	i, j := k.cut(from)
	k.areas = slices.Delete(k.areas, i, j)
	k.put(moved)
	return newAt, nil
}

// after is the first area that ends behind an address.
func (k *kernelSpace) after(addr uint64) int {
	i, _ := slices.BinarySearchFunc(k.areas, addr, func(a model.Area, addr uint64) int {
		return cmp.Compare(a.Start+a.Size, addr+1)
	})
	return i
}

func (k *kernelSpace) holds(e model.Extent) bool {
	i := k.after(e.Start)
	return i < len(k.areas) && k.areas[i].Overlaps(e)
}

// place is the lowest place where something may lie anywhere.
func (k *kernelSpace) place(n, align uint64) (addr uint64, ok bool) {
	at := (k.mid + align - 1) &^ (align - 1)
	for _, a := range k.areas[k.after(at):] {
		if a.Start >= at && a.Start-at >= n {
			break
		}
		at = max(at, (a.Start+a.Size+align-1)&^(align-1))
	}
	return at, at <= k.hi && n <= k.hi-at
}

// cut makes areas begin and end where e does. Those in it are [i, j).
func (k *kernelSpace) cut(e model.Extent) (i, j int) {
	split := func(at uint64) int {
		i := k.after(at)
		if i == len(k.areas) || k.areas[i].Start >= at {
			return i
		}
		a := k.areas[i]
		k.areas[i].Size = at - a.Start
		a.Start, a.Size = at, a.Start+a.Size-at
		k.areas = slices.Insert(k.areas, i+1, a)
		return i + 1
	}
	i = split(e.Start)
	return i, split(e.Start + e.Size)
}

// put maps an area in place of whatever there is.
func (k *kernelSpace) put(a model.Area) {
	i, j := k.cut(a.Extent)
	if i < j {
		k.areas[i] = a
		k.areas = slices.Delete(k.areas, i+1, j)
		return
	}
	k.areas = slices.Insert(k.areas, i, a)
}
