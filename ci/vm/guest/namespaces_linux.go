package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pmemlab/ci/vm/plan"
)

// The nvdimm bus in sysfs.
const (
	ndDevices = "/sys/bus/nd/devices"
	ndDrivers = "/sys/bus/nd/drivers"
)

// makeNamespaces makes what is asked for, by sysfs alone. With keep, what an earlier boot
// has made is taken as it is.
func makeNamespaces(wanted []plan.Namespace, keep bool) ([]plan.Place, error) {
	buses, err := filepath.Glob("/sys/class/nd/ndctl*")
	if err != nil {
		return nil, err
	}
	for _, bus := range buses {
		// Reading it waits until the bus has found all that is on it.
		if _, err := attribute(filepath.Join(bus, "device/wait_probe")); err != nil {
			return nil, err
		}
	}
	var places []plan.Place
	for _, n := range wanted {
		p := plan.Place{Namespace: n}
		if n.Kind != plan.Tmpfs {
			if p, err = makeNamespace(n, keep); err != nil {
				return nil, fmt.Errorf("namespace %s: %w", n.Name, err)
			}
		}
		places = append(places, p)
	}
	return places, nil
}

// makeNamespace makes one on the region at its address.
func makeNamespace(n plan.Namespace, keep bool) (plan.Place, error) {
	p := plan.Place{Namespace: n}
	region, err := regionAt(ndDevices, n.Address)
	if err != nil {
		return p, err
	}
	p.Region = strings.TrimPrefix(region, "/sys/")
	holder := ""
	if keep {
		holder, err = existing(region, n)
	} else {
		holder, err = configure(region, n)
	}
	if err != nil {
		return p, err
	}
	if p.Device, p.Bytes, err = deviceOf(holder); err != nil {
		return p, err
	}
	return p, nil
}

// regionAt is the region whose memory begins at the address: their numbers follow nothing.
func regionAt(devices string, address uint64) (string, error) {
	regions, err := filepath.Glob(devices + "/region*")
	if err != nil {
		return "", err
	}
	var seen []string
	for _, r := range regions {
		text, err := attribute(r + "/resource")
		if err != nil {
			return "", err
		}
		if start, err := strconv.ParseUint(text, 0, 64); err == nil && start == address {
			return r, nil
		}
		seen = append(seen, filepath.Base(r)+" at "+text)
	}
	return "", fmt.Errorf("no region begins at 0x%x; there are: %s", address, strings.Join(seen, ", "))
}

// seeds are what is configured for each kind: the attribute that names it, and its driver.
var seeds = map[plan.Kind]struct{ attribute, driver string }{
	plan.DevDax: {"dax_seed", "dax_pmem"},
	plan.FSDax:  {"pfn_seed", "nd_pmem"},
	plan.BTT:    {"btt_seed", "nd_pmem"},
}

// configure makes a namespace and what the kind puts on it, and returns its directory.
func configure(region string, n plan.Namespace) (string, error) {
	namespace, err := rawNamespace(region, n)
	if err != nil || n.Kind == plan.Raw {
		return filepath.Join(region, namespace), err
	}
	seed, ok := seeds[n.Kind]
	if !ok {
		return "", fmt.Errorf("kind %q: want devdax, fsdax, raw, btt or tmpfs", n.Kind)
	}
	name, err := attribute(filepath.Join(region, seed.attribute))
	if err != nil {
		return "", err
	}
	holder := filepath.Join(region, name)
	settings := [][2]string{{"uuid", newUUID()}}
	if n.Kind == plan.BTT {
		settings = append(settings, [2]string{"sector_size", "4096"})
	} else {
		settings = append(settings, [2]string{"mode", "ram"}, [2]string{"align", strconv.FormatUint(n.Alignment(), 10)})
	}
	settings = append(settings, [2]string{"namespace", namespace})
	for _, s := range settings {
		if err := setAttribute(filepath.Join(holder, s[0]), s[1]); err != nil {
			return "", err
		}
	}
	return holder, setAttribute(filepath.Join(ndDrivers, seed.driver, "bind"), name)
}

// rawNamespace is a namespace of the region that no driver has, except for Raw, whose
// driver it has.
func rawNamespace(region string, n plan.Namespace) (string, error) {
	labelled, err := attribute(region + "/nstype")
	if err != nil {
		return "", err
	}
	if labelled == "4" {
		name := strings.Replace(filepath.Base(region), "region", "namespace", 1) + ".0"
		if n.Kind == plan.Raw {
			return name, nil
		}
		return name, setAttribute(ndDrivers+"/nd_pmem/unbind", name)
	}
	name, err := attribute(region + "/namespace_seed")
	if err != nil {
		return "", err
	}
	size := n.Size
	if size == 0 {
		text, err := attribute(region + "/available_size")
		if err != nil {
			return "", err
		}
		if size, err = strconv.ParseUint(text, 0, 64); err != nil {
			return "", err
		}
	}
	for _, s := range [][2]string{{"uuid", newUUID()}, {"size", strconv.FormatUint(size, 10)}} {
		if err := setAttribute(filepath.Join(region, name, s[0]), s[1]); err != nil {
			return "", err
		}
	}
	if n.Kind == plan.Raw {
		return name, setAttribute(ndDrivers+"/nd_pmem/bind", name)
	}
	return name, nil
}

// existing is the directory of what an earlier boot has made of a region.
func existing(region string, n plan.Namespace) (string, error) {
	pattern := map[plan.Kind]string{plan.DevDax: "dax*", plan.FSDax: "pfn*", plan.Raw: "namespace*", plan.BTT: "btt*"}[n.Kind]
	found, err := filepath.Glob(filepath.Join(region, pattern))
	if err != nil {
		return "", err
	}
	for _, holder := range found {
		if _, _, err := deviceOf(holder); err == nil {
			return holder, nil
		}
	}
	return "", fmt.Errorf("%s has no %s that an earlier boot has made", filepath.Base(region), n.Kind)
}

// deviceOf is the device node that a configured namespace has, and its size in bytes.
func deviceOf(holder string) (node string, size uint64, err error) {
	for _, at := range []struct {
		pattern string
		unit    uint64
	}{{"dax*.*/size", 1}, {"block/*/size", 512}} {
		found, err := filepath.Glob(filepath.Join(holder, at.pattern))
		if err != nil {
			return "", 0, err
		}
		if len(found) != 1 {
			continue
		}
		text, err := attribute(found[0])
		if err != nil {
			return "", 0, err
		}
		n, err := strconv.ParseUint(text, 10, 64)
		return "/dev/" + filepath.Base(filepath.Dir(found[0])), n * at.unit, err
	}
	return "", 0, fmt.Errorf("%s has no device", strings.TrimPrefix(holder, ndDevices+"/"))
}

// attribute reads one.
func attribute(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}

// setAttribute writes one.
func setAttribute(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q: %w", text, err)
	}
	return nil
}

// newUUID is a random one.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
