// Checks a log with code that nobody of this project wrote: the note and tlog packages of the Go distribution, and its
// crypto/ed25519. What is ours here is where the files lie (C2SP tlog-tiles, tlog-cosignature), and no more.
//
//	outside LOG_DIRECTORY [WITNESS_VKEY...]
//
// prints one line that begins with "outside verifier:", and exits 1 when anything does not hold.
package main

import (
	"bufio"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The tile height of C2SP tlog-tiles.
const height = 8

type checkpoint struct {
	size int64
	root tlog.Hash
}

type log struct {
	directory string
	verifiers note.Verifiers
	origin    string
}

// tilePath is where C2SP puts a tile: as Go does, without the height.
func tilePath(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
}

// readPartial reads a file, or, where it is partial and gone, the full one.
func (l *log) readPartial(path string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(l.directory, path))
	if cut := strings.Index(path, ".p/"); errors.Is(err, os.ErrNotExist) && cut >= 0 {
		data, err = os.ReadFile(filepath.Join(l.directory, path[:cut]))
	}
	return data, err
}

func (l *log) Height() int { return height }

func (l *log) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, 0, len(tiles))
	for _, tile := range tiles {
		data, err := l.readPartial(tilePath(tile))
		if err != nil {
			return nil, err
		}
		if len(data) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s is too short", tilePath(tile))
		}
		all = append(all, data[:tile.W*tlog.HashSize])
	}
	return all, nil
}

func (l *log) SaveTiles([]tlog.Tile, [][]byte) {}

func (l *log) open(text []byte) (checkpoint, *note.Note, error) {
	signed, err := note.Open(text, l.verifiers)
	if err != nil {
		return checkpoint{}, nil, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 || lines[0] != l.origin {
		return checkpoint{}, nil, errors.New("not a checkpoint of this log")
	}
	var is checkpoint
	if _, err := fmt.Sscanf(lines[1], "%d", &is.size); err != nil || fmt.Sprint(is.size) != lines[1] {
		return checkpoint{}, nil, errors.New("a checkpoint without a size")
	}
	is.root, err = tlog.ParseHash(lines[2])
	return is, signed, err
}

// cosignature is one line of type 0x04 that a witness put under a checkpoint.
func cosignature(text string, signature note.Signature, witnesses map[string]ed25519.PublicKey) (bool, error) {
	key, known := witnesses[fmt.Sprintf("%s+%08x", signature.Name, signature.Hash)]
	if !known {
		return false, nil
	}
	bytes, err := base64.StdEncoding.DecodeString(signature.Base64)
	if err != nil || len(bytes) != 4+8+ed25519.SignatureSize {
		return false, errors.New("a cosignature of another length")
	}
	time := binary.BigEndian.Uint64(bytes[4:12])
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	if !ed25519.Verify(key, []byte(message), bytes[12:]) {
		return false, fmt.Errorf("a cosignature of %s that is not its own", signature.Name)
	}
	return true, nil
}

func witnessKeys(vkeys []string) (map[string]ed25519.PublicKey, error) {
	keys := map[string]ed25519.PublicKey{}
	for _, vkey := range vkeys {
		parts := strings.SplitN(vkey, "+", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("%s is no key", vkey)
		}
		bytes, err := base64.StdEncoding.DecodeString(parts[2])
		if err != nil || len(bytes) != 1+ed25519.PublicKeySize || bytes[0] != 0x04 {
			return nil, fmt.Errorf("%s is no key of a witness", vkey)
		}
		keys[parts[0]+"+"+parts[1]] = bytes[1:]
	}
	return keys, nil
}

// entries calls take for each entry under a checkpoint, in order.
func (l *log) entries(size int64, take func(index int64, entry []byte) error) error {
	for first := int64(0); first < size; first += 1 << height {
		width := min(size-first, 1<<height)
		tile := tlog.Tile{H: height, L: 0, N: first >> height, W: int(width)}
		path := strings.Replace(tilePath(tile), "tile/0/", "tile/entries/", 1)
		data, err := l.readPartial(path)
		if err != nil {
			return err
		}
		for index := first; index < first+width; index++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return fmt.Errorf("%s is too short", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			if err := take(index, data[2:end]); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			data = data[end:]
		}
		if len(data) != 0 {
			return fmt.Errorf("%s is too long", path)
		}
	}
	return nil
}

// cosigned reads every checkpoint in cosigned/, and counts the cosignatures that hold.
func (l *log) cosigned(witnesses map[string]ed25519.PublicKey) ([]checkpoint, int, error) {
	files, err := filepath.Glob(filepath.Join(l.directory, "cosigned", "*.jsonl"))
	if err != nil {
		return nil, 0, err
	}
	sort.Strings(files)
	var all []checkpoint
	held := 0
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			return nil, 0, err
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var line struct{ Note string }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				return nil, 0, err
			}
			is, signed, err := l.open([]byte(line.Note))
			if err != nil {
				return nil, 0, err
			}
			for _, signature := range signed.UnverifiedSigs {
				holds, err := cosignature(signed.Text, signature, witnesses)
				if err != nil {
					return nil, 0, err
				}
				if holds {
					held++
				}
			}
			all = append(all, is)
		}
		if err := lines.Err(); err != nil {
			return nil, 0, err
		}
	}
	return all, held, nil
}

func check(directory string, vkeys []string) (string, error) {
	key, err := os.ReadFile(filepath.Join(directory, "log.pub"))
	if err != nil {
		return "", err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return "", err
	}
	witnesses, err := witnessKeys(vkeys)
	if err != nil {
		return "", err
	}
	l := &log{directory, note.VerifierList(verifier), verifier.Name()}
	text, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return "", err
	}
	now, _, err := l.open(text)
	if err != nil {
		return "", err
	}

	// The tree as the tiles give it: the reader itself holds each tile against the signed root.
	tree := tlog.Tree{N: now.size, Hash: now.root}
	tiles := tlog.TileHashReader(tree, l)
	root, err := tlog.TreeHash(now.size, tiles)
	if err != nil {
		return "", err
	}
	if root != now.root {
		return "", errors.New("the tiles are not those of the checkpoint")
	}

	// The tree as the entries give it, and each entry's place in it.
	var stored []tlog.Hash
	grown := tlog.HashReaderFunc(func(places []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(places))
		for i, place := range places {
			if place >= int64(len(stored)) {
				return nil, fmt.Errorf("there is no hash %d", place)
			}
			hashes[i] = stored[place]
		}
		return hashes, nil
	})
	count := int64(0)
	err = l.entries(now.size, func(index int64, entry []byte) error {
		hashes, err := tlog.StoredHashes(index, entry, grown)
		if err != nil {
			return err
		}
		stored = append(stored, hashes...)
		proof, err := tlog.ProveRecord(now.size, index, tiles)
		if err != nil {
			return err
		}
		count++
		return tlog.CheckRecord(proof, now.size, now.root, index, tlog.RecordHash(entry))
	})
	if err != nil {
		return "", err
	}
	root, err = tlog.TreeHash(now.size, grown)
	if err != nil || root != now.root {
		return "", fmt.Errorf("the entries are not those of the checkpoint (%v)", err)
	}

	// Every checkpoint that was cosigned, each with the one before and the last with what is there now.
	older, held, err := l.cosigned(witnesses)
	if err != nil {
		return "", err
	}
	sort.SliceStable(older, func(a, b int) bool { return older[a].size < older[b].size })
	proven := 0
	for i, was := range older {
		is := now
		if i+1 < len(older) {
			is = older[i+1]
		}
		if was.size > now.size || is.size > now.size {
			return "", fmt.Errorf("a checkpoint over %d entries, and the log has %d", max(was.size, is.size), now.size)
		}
		if was.size == 0 {
			continue
		}
		proof, err := tlog.ProveTree(is.size, was.size, tiles)
		if err != nil {
			return "", err
		}
		if err := tlog.CheckTree(proof, is.size, is.root, was.size, was.root); err != nil {
			return "", fmt.Errorf("from %d to %d: %w", was.size, is.size, err)
		}
		proven++
	}
	if len(witnesses) > 0 && held == 0 {
		return "", errors.New("no cosignature of the given witnesses")
	}
	return fmt.Sprintf("%s: %d entries, each in the signed tree; %d cosigned checkpoints, consistent; %d cosignatures hold",
		l.origin, count, proven, held), nil
}

func main() {
	if len(os.Args) < 2 {
		fmt.Println("outside verifier: a log's directory is missing")
		os.Exit(2)
	}
	verdict, err := check(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Println("outside verifier: REFUSED:", err)
		os.Exit(1)
	}
	fmt.Println("outside verifier: VERIFIED:", verdict)
}
