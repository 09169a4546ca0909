package mce

import "testing"

func TestLists(t *testing.T) {
	for _, c := range []struct {
		text       string
		first, end uint64
		want       bool
	}{
		{"", 8, 9, false},
		{"8 1\n", 8, 9, true},
		{"8 1\n", 8, 10, false},
		{"8 1\n", 7, 9, false},
		{"8 1\n", 9, 10, false},
		{"7 3\n", 8, 9, true},
		{"7 3\n", 8, 10, true},
		{"7 3\n", 8, 11, false},
		{"7 1\n8 2\n", 7, 10, true},
		{"7 1\n9 2\n", 7, 10, false},
		{"2 1\n8 2\n20 1\n", 8, 10, true},
		{"8\n", 8, 9, false},
		{"eight 1\n8 one\n", 8, 9, false},
	} {
		if got := lists(c.text, c.first, c.end); got != c.want {
			t.Errorf("%q has [%d, %d): got %v, want %v", c.text, c.first, c.end, got, c.want)
		}
	}
}
