"""Just enough of the Xet CAS wire formats (xorb, shard, LZ4 frame) to receive real hf_xet uploads and serve downloads.

Formats: huggingface.co/docs/xet (xorb.md, shard.md, api.md, hashing.md). Hash *values* are not recomputed (no blake3 in
the stdlib): xorbs and shards are checked structurally (bounds, lengths, references), and sha256 when the shard has one.
"""

from __future__ import annotations

import hashlib
import struct

CHUNK = 64 * 1024  # chunk size of the synthetic (uncompressed) xorbs that downloads are served from


def hash_hex(raw: bytes) -> str:
    """32 raw bytes -> Xet hex string: four little-endian u64, each printed as 16 hex digits."""
    return "".join(f"{x:016x}" for x in struct.unpack("<4Q", raw))


def _lz4_block(src: bytes, out: bytearray) -> None:
    i, n = 0, len(src)
    while i < n:
        token = src[i]
        i += 1
        lit = token >> 4
        if lit == 15:
            while True:
                b = src[i]
                i += 1
                lit += b
                if b != 255:
                    break
        out += src[i : i + lit]
        i += lit
        if i >= n:
            return
        off = src[i] | (src[i + 1] << 8)
        i += 2
        length = token & 15
        if length == 15:
            while True:
                b = src[i]
                i += 1
                length += b
                if b != 255:
                    break
        length += 4
        start = len(out) - off
        if off == 0 or start < 0:
            raise ValueError("bad LZ4 match offset")
        if off >= length:
            out += out[start : start + length]
        else:
            pat = bytes(out[start:])
            out += (pat * (length // off + 1))[:length]


def lz4_frame(data: bytes) -> bytes:
    if data[:4] != b"\x04\x22\x4d\x18":
        raise ValueError("not an LZ4 frame")
    flg = data[4]
    i = 6 + (8 if flg & 8 else 0) + (4 if flg & 1 else 0) + 1
    out = bytearray()
    while True:
        (size,) = struct.unpack_from("<I", data, i)
        i += 4
        if size == 0:
            return bytes(out)
        raw, size = size >> 31, size & 0x7FFFFFFF
        if raw:
            out += data[i : i + size]
        else:
            _lz4_block(data[i : i + size], out)
        i += size + (4 if flg & 16 else 0)


def _ungroup4(g: bytes) -> bytes:
    n = len(g)
    out, pos = bytearray(n), 0
    for k in range(4):
        size = n // 4 + (1 if k < n % 4 else 0)
        out[k::4] = g[pos : pos + size]
        pos += size
    return bytes(out)


def xorb_chunks(blob: bytes) -> list[bytes]:
    """Decode a serialized xorb (an optional XETBLOB footer is ignored) into its raw chunks."""
    chunks, i, n = [], 0, len(blob)
    while i + 8 <= n and blob[i : i + 7] != b"XETBLOB":
        version, csize, scheme, usize = (
            blob[i],
            int.from_bytes(blob[i + 1 : i + 4], "little"),
            blob[i + 4],
            int.from_bytes(blob[i + 5 : i + 8], "little"),
        )
        body = blob[i + 8 : i + 8 + csize]
        if version != 0 or scheme > 2 or len(body) != csize or usize > 128 * 1024:
            raise ValueError(f"bad xorb chunk header at byte {i}")
        raw = body if scheme == 0 else lz4_frame(body)
        raw = _ungroup4(raw) if scheme == 2 else raw
        if len(raw) != usize:
            raise ValueError(f"xorb chunk at byte {i}: got {len(raw)} bytes, header says {usize}")
        chunks.append(raw)
        i += 8 + csize
    if not chunks:
        raise ValueError("xorb has no chunk")
    return chunks


def parse_shard(b: bytes) -> list[dict]:
    """-> [{'hash': file hash hex, 'terms': [(xorb hex, start, end, bytes)], 'sha256': hex | None}]"""
    version, footer = struct.unpack_from("<QQ", b, 32)
    if version != 2 or footer != 0:
        raise ValueError(f"shard header version {version}, footer size {footer}: uploads need version 2 and no footer")
    files, i = [], 48
    while True:
        h, flags, count = b[i : i + 32], *struct.unpack_from("<II", b, i + 32)
        i += 48
        if h == b"\xff" * 32:
            break
        terms = []
        for _ in range(count):
            unpacked, start, end = struct.unpack_from("<III", b, i + 36)
            terms.append((hash_hex(b[i : i + 32]), start, end, unpacked))
            i += 48
        if not flags & 0x80000000:
            raise ValueError("file info without verification entries")
        i += 48 * count
        sha = None
        if flags & 0x40000000:
            sha, i = hash_hex(b[i : i + 32]), i + 48
        files.append({"hash": hash_hex(h), "terms": terms, "sha256": sha})
    return files


def reconstruction(
    file_hash: str, size: int, url: str, start: int = 0, end: int | None = None, v2: bool = True
) -> dict:
    """Reconstruction answer for a file served as ONE synthetic xorb of uncompressed CHUNK-sized chunks."""
    end = size if end is None else min(end, size)
    first, last = start // CHUNK, max(start // CHUNK + 1, -(-end // CHUNK))
    lo, hi = first * (CHUNK + 8), min(last * (CHUNK + 8), size + 8 * (-(-size // CHUNK)))
    term = {
        "hash": file_hash,
        "unpacked_length": min(last * CHUNK, size) - first * CHUNK,
        "range": {"start": first, "end": last},
    }
    out = {"offset_into_first_range": start - first * CHUNK, "terms": [term]}
    rng = {"start": lo, "end": hi - 1}
    if v2:
        out["xorbs"] = {file_hash: [{"url": url, "ranges": [{"chunks": term["range"], "bytes": rng}]}]}
    else:
        out["fetch_info"] = {file_hash: [{"url": url, "range": term["range"], "url_range": rng}]}
    return out


def synthetic_xorb(data: bytes) -> bytes:
    out = bytearray()
    for i in range(0, len(data), CHUNK):
        c = data[i : i + CHUNK]
        out += b"\0" + len(c).to_bytes(3, "little") + b"\0" + len(c).to_bytes(3, "little") + c
    return bytes(out)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
