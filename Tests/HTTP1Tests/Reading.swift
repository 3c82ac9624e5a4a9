import HTTP1

/// What a whole message was read as, in values that can be compared: the outcome must not hang on how its bytes were split.
struct Reading: Hashable, CustomStringConvertible {
  var first: [String] = []
  var fields: [String] = []
  var framing: Framing?
  var keepsAlive = false
  var body: [UInt8] = []
  var isComplete = false
  var rest: Int?
  var error: MessageError?

  var description: String {
    "\(first) \(fields) \(framing.map { "\($0)" } ?? "-") keeps alive: \(keepsAlive) "
      + "body: \(String(decoding: body, as: UTF8.self)) complete: \(isComplete) rest: \(rest ?? -1) \(error.map { "\($0)" } ?? "")"
  }
}

enum Kind { case request, response, answerToHead }

/// Shows the bytes in pieces that end at those offsets, then the end of the connection.
func read(_ kind: Kind, _ bytes: [UInt8], cuts: [Int] = [], limits: Limits = Limits()) -> Reading {
  var reading = Reading()
  var requests = RequestScanner(limits)
  var responses = ResponseScanner(limits)
  var head: (length: Int, Framing)?
  var decoder: BodyDecoder?
  var decoded = 0
  do throws(MessageError) {
    for end in cuts + [bytes.count] {
      let all = bytes.span.extracting(0..<end)
      if head == nil {
        switch kind {
        case .request:
          if let found = try requests.scan(all) {
            reading.first = [all.text(found.method), all.text(found.target), "1.\(found.minorVersion)"]
            reading.fields = found.fields.map { all.text($0.name) + "=" + all.text($0.value) }
            reading.keepsAlive = found.keepsAlive
            head = (found.length, found.framing)
          }
        case .response, .answerToHead:
          if let found = try responses.scan(all) {
            reading.first = ["\(found.status)", all.text(found.reason), "1.\(found.minorVersion)"]
            reading.fields = found.fields.map { all.text($0.name) + "=" + all.text($0.value) }
            reading.keepsAlive = found.keepsAlive
            head = (found.length, found.framing(answeringHead: kind == .answerToHead))
          }
        }
        if let head {
          reading.framing = head.1
          decoder = BodyDecoder(head.1, limits: limits)
          decoded = head.length
        }
      }
      guard decoder != nil else { continue }
      let piece = all.extracting(decoded..<end)
      let start = decoded
      let taken =
        try decoder?.decode(piece) { reading.body += bytes[start + $0.lowerBound..<start + $0.upperBound] } ?? 0
      decoded += taken
    }
    if decoder == nil { throw .truncated }
    try decoder?.end()
    reading.isComplete = true
    reading.rest = bytes.count - decoded
  } catch {
    reading.error = error
  }
  return reading
}

func request(_ text: String, limits: Limits = Limits()) -> Reading { read(.request, Array(text.utf8), limits: limits) }
func response(_ text: String, limits: Limits = Limits()) -> Reading {
  read(.response, Array(text.utf8), limits: limits)
}
