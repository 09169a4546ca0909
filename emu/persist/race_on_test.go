//go:build race

package persist

// raceEnabled: what is large for the sake of large numbers is smaller then. The numbers are
// those of a build without the race detector.
const raceEnabled = true
