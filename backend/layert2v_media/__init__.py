"""The one reader of movies, pictures and picture sequences, for every program. No torch, no wire.

A layer is a *footage*: a movie, or a folder of numbered pictures, perhaps one layer of EXR files.
`footage.probe` gives its facts without decoding every frame; `footage.stream` gives its frames.

    frames      float32 (H, W, 3 or 4), display-referred sRGB of Rec. 709 primaries in [0, 1]
    time        seconds from the first frame, by time stamps; None where frames have one rate
    size        as people see it: turned by orientation, square pixels, inside the display window
    alpha       straight, whatever the file holds; the facts say whether the file said its form
    colour      range, matrix, transfer, primaries or profile as the file says, or `UnreadableMedia`

Rooms, from the top: `footage`; `movies`, `numbering`; `movie_index`; `movie_files`, `exr`,
`pictures`; `planes`, `exr_layers`, `cropping`, `icc`; `containers`; `colour`, `turning`; `kinds`,
`limits`, `transfer`; `errors`. `docs/media.md` has the table of what is read, how, and what is
refused.
"""
