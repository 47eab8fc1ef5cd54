// A zip of files as they are: streams cannot be compressed any further.

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(data) {
  let crc = ~0;
  for (const byte of data) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function record(size, signature, fields) {
  const view = new DataView(new ArrayBuffer(size));
  view.setUint32(0, signature, true);
  for (const [at, bits, value] of fields) view[bits === 16 ? "setUint16" : "setUint32"](at, value, true);
  return new Uint8Array(view.buffer);
}

/** Pack [name, Uint8Array] pairs into a Blob. Names are unique. */
export function zip(files) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const [text, data] of files) {
    const name = new TextEncoder().encode(text);
    // Version 2.0, names in UTF-8 (bit 11), stored, 1 January 1980.
    const shared = (at) => [
      [at, 16, 20], [at + 2, 16, 1 << 11], [at + 4, 16, 0], [at + 6, 16, 0], [at + 8, 16, 0x21],
      [at + 10, 32, crc32(data)], [at + 14, 32, data.length], [at + 18, 32, data.length], [at + 22, 16, name.length],
    ];
    directory.push(record(46, 0x02014b50, [[4, 16, 20], ...shared(6), [42, 32, offset]]), name);
    parts.push(record(30, 0x04034b50, shared(4)), name, data);
    offset += 30 + name.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record(22, 0x06054b50, [[8, 16, files.length], [10, 16, files.length], [12, 32, size], [16, 32, offset]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
