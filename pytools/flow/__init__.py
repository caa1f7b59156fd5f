"""What a capture tells about TCP flows: passive analysis, sans-IO."""
