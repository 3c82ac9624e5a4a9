import Foundation
import Testing

@testable import Proxy

@Test func `A worker is meant for each processor that the process may run on`() throws {
  #expect(processorCount() >= 1)
  // "0-3,8": what the kernel says of this process.
  let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
  let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") })
  let count = line.split(separator: "\t")[1].split(separator: ",").reduce(0) { sum, range in
    let ends = range.split(separator: "-").compactMap { Int($0) }
    return sum + (ends.last ?? 0) - (ends.first ?? 0) + 1
  }
  #expect(processorCount() == count)
}
