package survey

import "testing"

// TestFormOfDevices: a kernel may give the nd device another number than the character device
// that lies in it, by luck, and the answers are the same.
func TestFormOfDevices(t *testing.T) {
	usual, lucky := &session{holder: "dax0.0", node: "dax0.0"}, &session{holder: "dax0.1", node: "dax0.0"}
	for a, b := range map[string]string{
		"region0/dax0.0/dax0.0":   "region0/dax0.1/dax0.0",
		"DEVNAME=dax0.0\n":        "DEVNAME=dax0.0\n",
		"dax0.0":                  "dax0.1",
		"../region0/dax0.0 dax0.": "../region0/dax0.1 dax0.",
	} {
		if x, y := usual.form(a), lucky.form(b); x != y {
			t.Errorf("%q is %q, and %q is %q", a, x, b, y)
		}
	}
	// What isn't on the namespace is another device.
	if x, y := usual.form("dax0.0"), usual.form("dax0.2"); x == y {
		t.Errorf("dax0.0, on the namespace, and dax0.2 are both %q", x)
	}
	// Beside other nd devices the character device's name isn't known.
	if x := (&session{holder: "dax0.1"}).form("dax0.0"); x != "dax#" {
		t.Errorf("an nd device with the number of a character device is %q", x)
	}
}
