//go:build tools

// Package tools pins tessera's fsck, which dev/fsck-binary.ts builds: the tool that tests walk our public log with.
// After changing a version: go mod tidy.
package tools

import _ "github.com/transparency-dev/tessera/cmd/fsck"
