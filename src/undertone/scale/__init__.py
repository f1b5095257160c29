"""The functions of the other rooms on a Ray cluster (extra ``scale``).

    pack      recordings into shards, so that a million small files are not needed
    places    files by local path or URL (fsspec)
    parts     a manifest or a folder of shards, cut into parts; a part is the unit that is done or repeated
    stage     one part's utterances with their recordings as local files
    stream    parts through a pool of actors (Ray Data): each leaves one file named after its content
    extract · predict · align      what an actor does with a part
    trials    cross-validation and search (Ray Tune)
    group     one fit over several machines (Ray Train)
    deploy    the server's application with replicas (Ray Serve)

Ray is imported only inside functions; ``cluster`` is the door to it.
"""
