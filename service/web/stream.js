// The header of a .zgt stream; docs/stream-format.md specifies it.

export const isStream = (data) => data[0] === 0x5a && data[1] === 0x47 && data[2] === 0x54; // "ZGT"

/** Read the facts in a sound header; null of another version, or cut off. */
export function header(data) {
  if (!isStream(data) || data.length < 18 || data[3] < 3 || data[3] > 5) return null;
  const view = new DataView(data.buffer, data.byteOffset);
  const [codec, flags] = [data[4], data[5]];
  let at = 16;
  const length = () => {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = data[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    return value;
  };
  return {
    format_version: data[3],
    codec: codec ? "hybrid" : "learned",
    model_id: [...data.subarray(6, 10)].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    width: view.getUint16(10, true),
    height: view.getUint16(12, true),
    quality: (view.getUint16(14, true) / 65535) * 100,
    greyscale: Boolean(flags & 2),
    postprocess: Boolean(flags & 4),
    bytes: data.length,
    z_bytes: length(),
    y_bytes: length(),
    alpha_bytes: flags & 1 ? length() : null,
    metadata_bytes: data[3] === 4 || flags & 16 ? length() : null,
    overlay_bytes: flags & 8 ? length() : null,
  };
}
