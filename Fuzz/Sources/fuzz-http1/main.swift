// One HTTP/1.1 message: however its bytes are cut, it is read, or refused, alike; and a head that was read is written so that
// it reads the same.
//
// Input: what is read and within which limits, eight places to cut at, then the message.
import Fuzzing
import HTTP1

@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  withInput(start, count) { bytes in
    var input = Input(bytes)
    let choices = input.byte()
    let kind = Kind(rawValue: choices & 3) ?? .request
    let limits = choices & 4 == 0 ? Limits() : Limits(head: 128, startLine: 48, fields: 4, chunkLine: 10, trailers: 16)
    let places = (0..<8).map { _ in Int(input.number(UInt16.self)) }
    let message = input.rest()

    let whole = Reading(kind, message, [], limits)
    precondition(
      Reading(kind, message, places.map { $0 % (message.count + 1) }.sorted(), limits) == whole, "cuts matter")
    if message.count <= 256 {
      precondition(Reading(kind, message, Array(0..<message.count), limits) == whole, "single bytes matter")
    }
    writeAgain(whole, kind)
    collect(message, limits, whole, kind)
  }
  return 0
}

enum Kind: UInt8 { case request, response, answerToHead }

/// All that a message was read as.
struct Reading: Equatable {
  var start: [String] = []
  var fields: [[UInt8]] = []
  var framing: Framing?
  var keepsAlive = false
  var body: [UInt8] = []
  var taken = 0
  var error: MessageError?

  init(_ kind: Kind, _ message: [UInt8], _ cuts: [Int], _ limits: Limits) {
    var requests = RequestScanner(limits)
    var responses = ResponseScanner(limits)
    var decoder: BodyDecoder?
    do throws(MessageError) {
      for end in cuts + [message.count] {
        let seen = message.span.extracting(0..<end)
        if decoder == nil {
          var found: [Field] = []
          if kind == .request, let head = try requests.scan(seen) {
            start = [seen.text(head.method), seen.text(head.target), "\(head.minorVersion)", "\(head.expectsContinue)"]
            (found, framing, keepsAlive, taken) = (head.fields, head.framing, head.keepsAlive, head.length)
          } else if kind != .request, let head = try responses.scan(seen) {
            start = ["\(head.status)", seen.text(head.reason), "\(head.minorVersion)"]
            framing = head.framing(answeringHead: kind == .answerToHead)
            (found, keepsAlive, taken) = (head.fields, head.keepsAlive, head.length)
          }
          precondition(taken <= min(end, limits.head) && found.count <= limits.fields)
          fields = found.flatMap { [Array(message[$0.name]), Array(message[$0.value])] }
          decoder = framing.map { BodyDecoder($0, limits: limits) }
        }
        guard decoder != nil else { continue }
        let from = taken
        let piece = seen.extracting(from..<end)
        let count = try decoder?.decode(piece) { body += message[from + $0.lowerBound..<from + $0.upperBound] } ?? 0
        precondition(count == piece.count || decoder?.isComplete == true)
        taken += count
      }
      if decoder == nil { throw .truncated }
      try decoder?.end()
      if case .length(let length) = framing { precondition(UInt64(body.count) == length) }
    } catch {
      self.error = error
      // How far a piece was read before its error is nobody's business.
      taken = 0
    }
  }
}

/// Writes what was read, and reads it again.
func writeAgain(_ reading: Reading, _ kind: Kind) {
  guard reading.error == nil else { return }
  let texts = reading.fields.map { String(decoding: $0, as: UTF8.self) }
  // What is not UTF-8 can be read, but not written.
  guard zip(texts, reading.fields).allSatisfy({ Array($0.utf8) == $1 }) else { return }
  do throws(MessageError) {
    var writer =
      kind == .request
      ? try HeadWriter(method: reading.start[0], target: reading.start[1])
      : try HeadWriter(status: Int(reading.start[0]) ?? 0, reason: "")
    for index in stride(from: 0, to: texts.count, by: 2) { try writer.field(texts[index], texts[index + 1]) }
    writer.finish()
    let again = Reading(kind == .request ? .request : .answerToHead, writer.bytes, [], Limits(head: .max, fields: .max))
    // A head of HTTP/1.0 may lack the Host that its 1.1 form must have.
    if again.error == .missingHost { return }
    precondition(again.start[0] == reading.start[0] && again.fields == reading.fields, "written, it reads differently")
  } catch {
    preconditionFailure("what was read cannot be written: \(error)")
  }
}

/// The reader of whole answers agrees with the parts that it is made of, and keeps no more than it may.
func collect(_ message: [UInt8], _ limits: Limits, _ whole: Reading, _ kind: Kind) {
  guard kind != .request else { return }
  var reader = ResponseReader(bodyLimit: 16, answeringHead: kind == .answerToHead, limits: limits)
  do throws(MessageError) {
    for index in message.indices where !reader.isComplete {
      try reader.read(message.span.extracting(index..<index + 1))
    }
    if !reader.isComplete { try reader.end() }
  } catch {
    // Where an interim answer comes first, only the reader reads on.
    let isInterim = whole.start.first.map { $0.hasPrefix("1") } ?? false
    precondition(whole.error != nil || isInterim, "\(error)")
  }
  precondition(reader.body.count <= 16 && UInt64(reader.body.count) <= reader.bodyLength)
}

runFuzzer(feed)
