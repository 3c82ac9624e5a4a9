// A stream of the peer link's frames, in pieces: read, and what was read is written so that it reads the same.
//
// Input: the size of the pieces, then the stream.
import Fuzzing
import Peering

@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  withInput(start, count) { bytes in
    var input = Input(bytes)
    let size = Int(input.byte()) + 1
    var reader = PeerFrameReader()
    while !input.isAtEnd {
      reader.append(input.take(size))
      do throws(PeeringError) {
        while let frame = try reader.next() { check(frame) }
      } catch {
        return
      }
      precondition(reader.waiting <= PeerFrame.longest + 4 + size)
    }
  }
  return 0
}

func check(_ frame: PeerFrame) {
  if case .unknown = frame { return }
  var again = PeerFrameReader()
  again.append(frame.encoded)
  precondition((try? again.next()) == frame)
  precondition(again.waiting == 0)
}

runFuzzer(feed)
