//go:build tools

// Package tools pins the Temporal CLI, which dev/temporal-binary.ts builds where no download is possible.
// After changing a version: go mod tidy.
package tools

import _ "github.com/temporalio/cli/cmd/temporal"
