/** An HTTP/1.1 response, of which a load generator needs only the status and when it is complete. */
export class Response {
  status = 0
  /** Bytes of the body as sent, including what chunks add. */
  bytes = 0
  /** Whether the server closes the connection. */
  isLast = false
  #head = ''
  /** Of a body whose length is known. */
  #expected: number | undefined
  /** The last bytes of a body that comes in chunks. */
  #tail = '\r\n'

  /** Takes the next bytes, and returns whether the response is complete. */
  push(data: Buffer): boolean {
    if (this.status !== 0) return this.#pushBody(data)
    this.#head += data.toString('latin1')
    const end = this.#head.indexOf('\r\n\r\n') + 4
    if (end < 4) return false
    const body = this.#head.length - end
    this.#head = this.#head.slice(0, end)
    this.status = Number(this.#head.slice(9, 12))
    this.isLast = this.#header('connection') === 'close'
    const hasBody = this.status !== 204 && this.status !== 304
    if (!hasBody || !this.#header('transfer-encoding')) this.#expected = hasBody ? this.#length() : 0
    return this.#pushBody(data.subarray(data.length - body))
  }

  #pushBody(data: Buffer) {
    this.bytes += data.length
    if (this.#expected !== undefined) return this.bytes === this.#expected
    // JSON never ends like this: it has no empty line.
    this.#tail = (this.#tail + data.subarray(-7).toString('latin1')).slice(-7)
    return this.#tail === '\r\n0\r\n\r\n'
  }

  #header(name: string) {
    return new RegExp(`\r\n${name}: *([^\r]*)`, 'i').exec(this.#head)?.[1]
  }

  #length() {
    const length = this.#header('content-length')
    if (length === undefined) throw new Error(`a response without a length: ${this.#head}`)
    return Number(length)
  }
}
