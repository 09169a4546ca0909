package survey

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

// What is listed in these folders of sysfs is of other parts of the kernel.
var foreign = map[string]bool{
	"power": true, "trace": true, "holders": true, "slaves": true, "mq": true, "integrity": true, "firmware": true, "bdi": true,
}

// Numbers that a kernel gives in the order in which it finds devices, and what is random:
// their form is asked for.
var numbered = []struct {
	pattern *regexp.Regexp
	form    string
}{
	{regexp.MustCompile(`\b(region|nmem|ndbus|ndctl|pmem|virtio)\d+`), "$1#"},
	{regexp.MustCompile(`\b(dax|pfn|btt|namespace)\d+\.\d+`), "$1#"}, // seeds may have been taken and given back
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "a uuid"},
	{regexp.MustCompile(`\b(MAJOR|MINOR|DISKSEQ)=\d+`), "$1=#"},
	{regexp.MustCompile(`0000:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]`), "0000:#"},
}

// Attributes of which the form alone is asked for, since the value is a place in memory or
// a number.
var formOnly = map[string]*regexp.Regexp{
	"resource":      regexp.MustCompile(`^0x[1-9a-f][0-9a-f]*\n$`),
	"start":         regexp.MustCompile(`^0x[1-9a-f][0-9a-f]*\n$`),
	"end":           regexp.MustCompile(`^0x[1-9a-f][0-9a-f]*\n$`),
	"set_cookie":    regexp.MustCompile(`^0x[0-9a-f]+\n$`),
	"dev":           regexp.MustCompile(`^\d+:\d+\n$`),
	"diskseq":       regexp.MustCompile(`^\d+\n$`),
	"range_index":   regexp.MustCompile(`^[1-9]\d*\n$`),
	"stat":          regexp.MustCompile(`^( +\d+){17}\n$`),
	"id":            regexp.MustCompile(`^([0-9a-f]{4}(-[0-9a-f]{2}-[0-9a-f]{4})?-[0-9a-f]{8}|\d+)\n$`),
	"handle":        regexp.MustCompile(`^0x[0-9a-f]+\n$`),
	"phys_id":       regexp.MustCompile(`^0x[0-9a-f]+\n$`),
	"serial":        regexp.MustCompile(`^0x[0-9a-f]{8}\n$`),
	"read_ahead_kb": regexp.MustCompile(`^\d+\n$`),
	"scrub":         regexp.MustCompile(`^\d+\+?\n$`),
}

// device is the name of a device on a bus.
var device = regexp.MustCompile(`^(region|nmem|ndbus)\d+$`)

func (s *session) askSysfs() {
	buses := map[string]bool{}
	for _, p := range s.places {
		if p.Region == "" || p.Kind != plan.DevDax && p.Kind != plan.FSDax {
			continue
		}
		s.object = p.Name
		region := p.Region
		number := strings.TrimPrefix(path.Base(region), "region")
		holder, err := s.k.ReadAttr("bus/nd/devices/namespace" + number + ".0/holder")
		if err != nil {
			s.fail("holder of the namespace: %w", err)
			continue
		}
		s.holder = strings.TrimSpace(holder)
		s.walk("region", region, true)
		s.walk("namespace", "bus/nd/devices/namespace"+number+".0", false)
		st, ok := s.statDevice(p.Device)
		if !ok {
			continue
		}
		node := fmt.Sprintf("%d:%d", st.Major(), st.Minor())
		if p.Kind == plan.DevDax {
			// The character device mostly has the name of the nd device that it lies in; if the
			// kernel had used up that name, it has another.
			s.node = path.Base(p.Device)
			s.walk("nd device", "bus/nd/devices/"+s.holder, false)
			s.walk("device", "dev/char/"+node, false)
			s.walk("dax_region", "dev/char/"+node+"/../dax_region", false)
			s.askLink("dev/char", "dev/char/"+node)
			s.askLink("bus/dax", "bus/dax/devices/"+path.Base(p.Device))
			s.node = ""
		} else {
			s.walk("nd device", "bus/nd/devices/"+s.holder, false)
			s.walk("device", "dev/block/"+node, false)
			s.askLink("dev/block", "dev/block/"+node)
			s.askLink("class/block", "class/block/"+path.Base(p.Device))
		}
		s.askLink("bus/nd", "bus/nd/devices/region"+number)
		for i := range 4 {
			text, err := s.k.ReadAttr(fmt.Sprintf("%s/mapping%d", region, i))
			if err != nil {
				break
			}
			nmem, _, _ := strings.Cut(text, ",")
			s.walk(fmt.Sprintf("nmem of mapping%d", i), "bus/nd/devices/"+nmem, false)
			s.askLink(fmt.Sprintf("bus/nd nmem of mapping%d", i), "bus/nd/devices/"+nmem)
		}
		if link, err := s.k.Readlink(region); err == nil {
			bus := path.Base(path.Dir(link))
			if !buses[bus] {
				buses[bus] = true
				s.object = "bus"
				s.walk("bus of "+p.Name, "bus/nd/devices/"+bus, false)
				s.askLink("bus of "+p.Name, "bus/nd/devices/"+bus)
			}
		}
	}
	s.object = "no such"
	for _, name := range []string{"bus/nd/devices/nowhere", "bus/nd/devices/nowhere/size", "dev/char/0:0", "", "bus"} {
		_, err := s.k.ReadAttr(name)
		s.ask("read", name, errnoText(err))
		s.ask("write", name, errnoText(s.k.WriteAttr(name, "")))
		_, err = s.k.Readlink(name)
		s.ask("readlink", name, errnoText(err))
		_, err = s.k.List(name)
		s.ask("list", name, errnoText(err))
	}
}

func (s *session) statDevice(name string) (platform.Stat, bool) {
	fd, err := s.k.Open(name, platform.OPath, 0)
	if err != nil {
		s.fail("opening %s: %w", name, err)
		return platform.Stat{}, false
	}
	st, err := s.k.Fstat(fd)
	if closeErr := s.k.Close(fd); err == nil {
		err = closeErr
	}
	if err != nil {
		s.fail("fstat of %s: %w", name, err)
	}
	return st, err == nil
}

func (s *session) askLink(what, name string) {
	to, err := s.k.Readlink(name)
	if err != nil {
		to = errnoText(err)
	}
	s.ask("readlink", what, s.form(to))
}

// walk asks for all that is listed in dir, which rules call what. shallow leaves out the
// folders of the devices below it.
func (s *session) walk(what, dir string, shallow bool) {
	names, err := s.k.List(dir)
	if err != nil {
		s.ask("list", what, errnoText(err))
		return
	}
	for _, name := range names {
		rule, at := what+"/"+s.form(name), dir+"/"+name
		if foreign[name] || device.MatchString(name) && what[:3] == "bus" {
			continue // devices are asked for as those
		}
		mode, err := s.k.SysfsMode(at)
		if err != nil {
			s.ask("lstat", rule, errnoText(err))
			continue
		}
		switch mode & platform.SIFMT {
		case platform.SIFLNK:
			s.askLink(rule, at)
		case platform.SIFDIR:
			s.ask("lstat", rule, fmt.Sprintf("a folder, %#o", mode&0o7777))
			// Other devices' folders are asked for as those.
			_, err := s.k.SysfsMode(at + "/subsystem")
			if device := err == nil || shallow && strings.Contains(name, "."); !device {
				s.walk(rule, at, false)
			}
		default:
			s.ask("lstat", rule, fmt.Sprintf("%#o", mode&0o7777))
			s.ask("read", rule, s.attrText(name, at))
			if mode&0o222 == 0 {
				s.ask("write of nothing", rule, errnoText(s.k.WriteAttr(at, "")))
				s.ask("write", rule, errnoText(s.k.WriteAttr(at, "1")))
			}
		}
	}
}

// attrText is what an attribute says, as far as two machines that are alike must agree.
func (s *session) attrText(name, at string) string {
	text, err := s.k.ReadAttr(at)
	if err != nil {
		return errnoText(err)
	}
	if pattern := formOnly[name]; pattern != nil {
		if pattern.MatchString(text) {
			return "as " + pattern.String()
		}
		return strconv.Quote(text)
	}
	return strconv.Quote(s.form(text))
}

// form is text without the numbers of devices. The device on the namespace is told from
// others of its kind.
func (s *session) form(text string) string {
	for _, name := range []string{s.holder, s.node} {
		if name != "" {
			text = regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`).ReplaceAllString(text, strings.TrimRight(name, "0123456789.")+"# on the namespace")
		}
	}
	for _, n := range numbered {
		text = n.pattern.ReplaceAllString(text, n.form)
	}
	return text
}

// askDeepFlush asks what each region's deep_flush reads and takes.
func (s *session) askDeepFlush() {
	for _, p := range s.places {
		if p.Region == "" {
			continue
		}
		s.object = p.Name
		at := p.Region + "/deep_flush"
		read := func(rule string) {
			text, err := s.k.ReadAttr(at)
			if err != nil {
				s.ask("read", rule, errnoText(err))
			} else {
				s.ask("read", rule, strconv.Quote(text))
			}
		}
		read("at first")
		for _, text := range []string{
			"1", "1\n", "0", "", "\n", "y", "Y\n", "yes", "n", "on", "ON\n", "off", "o", "t", "true", "f", "2", "-1", " 1", "1 ", "10", "x",
		} {
			s.ask("write", strconv.Quote(text), errnoText(s.k.WriteAttr(at, text)))
		}
		read("at last")
		text, err := s.k.ReadAttr(p.Region + "/persistence_domain")
		if err != nil {
			text = errnoText(err)
		}
		s.ask("read persistence_domain", "", strconv.Quote(text))
	}
}
