// Package lab has what a lab with NVDIMMs runs the conformance suite with, every night or on a
// cluster: units of systemd, Jobs of Kubernetes, a container image, and a README that says what
// each destroys. The tests hold them, and the workflow of GitHub Actions, to the program's flags,
// the Makefile's targets and the schema of Kubernetes.
package lab
