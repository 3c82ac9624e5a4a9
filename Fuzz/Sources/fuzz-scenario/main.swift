// Any bytes as a scenario file: a scenario that keeps its own limits comes of it, or mistakes that can be printed.
import Fuzzing
import Scenario

@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  do {
    let scenario = try Scenario(reading: bytes, file: "fuzz.scenario")
    precondition(!scenario.title.isEmpty && 1...32 ~= scenario.nodes && 0...64 ~= scenario.backends)
    precondition(scenario.steps.allSatisfy { $0.at < scenario.end })
    for step in scenario.steps.indices { _ = scenario.window(of: step) }
    // Whatever was written, it can be judged, even when nothing was seen.
    precondition(scenario.judge(Observations()).count == scenario.expectations.count)
  } catch {
    precondition(!error.all.isEmpty && !error.description.isEmpty)
    precondition(error.all.allSatisfy { $0.line >= 1 && $0.column >= 1 && $0.length >= 1 })
  }
  return 0
}
runFuzzer(feed)
