package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu"
)

func TestDoctor(t *testing.T) {
	needsLinux(t)
	files := Files(FilesConfig{})
	var out bytes.Buffer
	if err := Doctor(&out, Emulated(), files); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	applicable := 0
	devdax := 0
	for _, r := range Rows() {
		if !r.NotApplicable() {
			applicable++
			if r.Needs == NeedDevDax {
				devdax++
			}
		}
	}
	for _, want := range []string{
		"this machine\n", "device DAX, for -pmem.devdax\n", "file systems mounted with DAX, for -pmem.fsdax\n",
		"target emulated, variants x86\n", "target files, variants tmpfs, disk\n",
		fmt.Sprintf("of %d rows %d can be checked\n", applicable, applicable),
		": " + files.Lacks(NeedDevDax) + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the doctor doesn't say %q:\n%s", want, text)
		}
	}
	if c := costOf(files); c.rows != applicable || c.lost < devdax || c.by[NeedDevDax] < devdax || c.by[NeedFile] != 0 {
		t.Errorf("the target files costs %+v, of %d rows; %d need a device DAX", c, applicable, devdax)
	}
}

// TestDoctorOfDevices has the part about the machine on one with devices.
func TestDoctorOfDevices(t *testing.T) {
	l := newLab(t, emu.Config{})
	for _, d := range []emu.DevDax{{Size: 14 << 20}, {Size: 12 << 20}, {Size: 16 << 20, Align: 4096}} {
		l.AddDevDax(d)
	}
	l.mount(t, emu.FS{Size: room, DAX: true})
	var out bytes.Buffer
	writeMachine(&out, l)
	for _, want := range []string{
		"/dev/dax0.0: 14680064 bytes, alignment 2097152, on region0\n",
		"/dev/dax1.0: 12582912 bytes, alignment 2097152, on region1; of no use, cases want 14680064 bytes\n",
		"/dev/dax2.0: 16777216 bytes, alignment 4096, on region2; of no use, cases want an alignment of 2097152\n",
		"block devices with DAX\n  /dev/pmem3, on region3\n",
		"region0=memory_controller,region1=memory_controller,region2=memory_controller,region3=memory_controller",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the doctor doesn't say %q:\n%s", want, out.String())
		}
	}
}

func TestDAXMounts(t *testing.T) {
	const info = `22 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
36 35 259:0 / /mnt/a rw,relatime shared:1 - ext4 /dev/pmem0 rw,dax
37 35 259:1 / /mnt/b rw,relatime - xfs /dev/pmem1 rw,attr2,dax=always,inode64
38 35 259:2 / /mnt/c rw,relatime - ext4 /dev/pmem2 rw,dax=never
39 35 259:3 / /mnt/dax rw,dax - ext4 /dev/dax rw
short - ext4 /dev/pmem2 dax
`
	want := []string{"/mnt/a: ext4 on /dev/pmem0", "/mnt/b: xfs on /dev/pmem1"}
	if got := daxMountsIn(info); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
