extension Scenario {
  /// The scenarios that come with the program, in the order in which they are run.
  ///
  /// Their files are compiled in, so that the one binary is all that is needed; a test reads each of them.
  public static let builtIn: [Scenario] = builtInFiles.map { file in
    do {
      return try Scenario(reading: file.bytes, file: file.name + ".scenario")
    } catch {
      // Only reachable by a build whose own tests failed.
      fatalError("a built-in scenario is wrong\n\(error)")
    }
  }

  /// The built-in scenario of that name.
  public static func builtIn(named name: String) -> Scenario? { builtIn.first { $0.name == name } }

  /// The text of each built-in file, to show and to start one's own from.
  public static var builtInTexts: [(name: String, text: String)] {
    builtInFiles.map { ($0.name, String(decoding: $0.bytes, as: UTF8.self)) }
  }
}

private let builtInFiles: [(name: String, bytes: [UInt8])] = [
  ("polite-stop", PackageResources.polite_stop_scenario),
  ("owner-killed", PackageResources.owner_killed_scenario),
  ("node-dead", PackageResources.node_dead_scenario),
  ("link-down", PackageResources.link_down_scenario),
  ("partition", PackageResources.partition_scenario),
  ("returning-node", PackageResources.returning_node_scenario),
  ("backend-killed", PackageResources.backend_killed_scenario),
]
