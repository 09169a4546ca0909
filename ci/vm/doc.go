// Package vm boots a stock Debian kernel with emulated NVDIMMs in QEMU, has it take the steps
// of a plan, and brings out what they leave.
//
// The CPU is emulated too (QEMU's TCG), so that any machine can do it; with hardware
// virtualisation where the CPU has it. Neither models a cache: a flush that is missing can't
// be seen there. What the kernel answers, and what is on the media after a power cut, can.
package vm
