// Any bytes as a file: a configuration or mistakes come of it, and what came can be printed and used.
import Configuration
import Fuzzing

@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  withInput(start, count) { bytes in
    var input = Input(bytes)
    let reading = Configuration.read(bytes: input.rest(), file: "fuzz.yaml")
    precondition((reading.configuration == nil) == reading.mistakes.hasError)
    precondition(!reading.mistakes.text(colour: true).isEmpty || reading.configuration != nil)
    precondition(!reading.mistakes.json.isEmpty)
    let host = HostFacts(hostName: "lb1", interfaces: [])
    _ = reading.mistakes(on: host)
    if let configuration = reading.configuration {
      precondition(configuration.hash.utf8.count == 16)
      for node in configuration.cluster.nodes {
        _ = configuration.nodeSettings(for: node.name) { _ in "eth0" }
      }
    }
  }
  return 0
}

runFuzzer(feed)
